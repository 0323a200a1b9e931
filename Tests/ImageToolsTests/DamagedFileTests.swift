import BlockDevice
import DiskFormat
import FileSystemCheck
import Glibc
import Platform
import RedoxFS
import TestSupport
import Testing

@testable import ImageTools

/// A file one record of which can't be read:
/// - all the other bytes get to where it is copied, and zeros in the place of the lost ones, which are named;
/// - its attributes, and everything else in the tree, are as in a copy of the whole image.
@Suite struct DamagedFileTests {
    private static let path = "sizes/r1048583"
    /// The golden image, and the same with a bad block in the record that begins at this byte.
    private static let lostRecord: UInt64 = 262_144

    private func open(_ device: any BlockDevice) throws -> ImageVolume {
        var options = OpenOptions()
        options.readOnly = true
        return try ImageVolume(device, name: "test", options: options)
    }

    private func damaged() throws -> (bad: OverlayDevice, good: MemoryDevice) {
        let good = try GoldenImage.smallTree.device(isWritable: false)
        let bad = OverlayDevice(over: good)
        let inspector = try Inspector(good)
        let node = try inspector.node(at: "/" + Self.path)
        let extents = try TestSupport.JSONValue(parsing: try inspector.printedNode(node).json)["extents"]?.array ?? []
        let size: UInt64 = 128 << 10
        let record = Self.lostRecord / size
        for extent in extents {
            let first: UInt64 = try extent.whole("record")
            let count: UInt64 = try extent.whole("records")
            guard (first..<first + count).contains(record) else { continue }
            let blocks: UInt64 = try extent.whole("blocks")
            let block: UInt64 = try extent.whole("block")
            // All records but the last are stored plain and full here.
            #expect(try extent.whole("compressed_records") == UInt64(0))
            let place = block + (record - first) * (blocks / count)
            let bytes = try bad.readBytes(at: place * 4096, count: 1)
            try bad.writeBytes(at: place * 4096, [bytes[0] ^ 1])
        }
        return (bad, good)
    }

    private func content(_ volume: ImageVolume) throws -> [UInt8] {
        let attributes = try volume.resolve(Self.path)
        let buffer = AlignedBuffer(byteCount: Int(attributes.size))
        var bytes = buffer.mutableBytes
        _ = try volume.fileSystem.read(attributes.node, at: 0, into: &bytes)
        return buffer.bytes.copyToArray()
    }

    /// What the good file has, with zeros from the first to the last difference, which must not be more than the record.
    private func expectOnlyTheRecordIsLost(
        _ found: [UInt8], _ good: [UInt8], at location: SourceLocation = #_sourceLocation
    ) {
        #expect(found.count == good.count, sourceLocation: location)
        guard found.count == good.count else { return }
        let different = found.indices.filter { found[$0] != good[$0] }
        let record = Int(Self.lostRecord)..<Int(Self.lostRecord) + 131_072
        #expect(!different.isEmpty && different.allSatisfy { record.contains($0) }, sourceLocation: location)
        #expect(different.allSatisfy { found[$0] == 0 }, sourceLocation: location)
    }

    private func expectWarning(_ summary: CopySummary, at location: SourceLocation = #_sourceLocation) {
        #expect(summary.warnings.count == 1, "\(summary.warnings)", sourceLocation: location)
        let range = "\(Self.path): bytes \(Self.lostRecord) to \(Self.lostRecord + 131_071) are lost"
        #expect(summary.warnings.first?.contains(range) == true, "\(summary.warnings)", sourceLocation: location)
    }

    /// A last record that can't be read is told to the byte, whatever its size.
    @Test(arguments: [131_072 + 1, 131_072 + 4096, 131_072 + 4097, 131_072 + 8193, 262_144])
    func aLostLastRecordIsTold(_ size: Int) throws {
        let device = MemoryDevice(byteCount: 8 << 20)
        try FileSystem.format(device, FormatOptions(uuid: Bytes16(low: 1, high: 2), time: Timespec(seconds: 1)))
        let system = try FileSystem(opening: device)
        var context = RequestContext(time: Timespec(seconds: 2))
        let file = try system.create(.root, "file", &context).node
        var generator = SplitMix(seed: 5)
        try system.write(file, (0..<size).map { _ in UInt8(truncatingIfNeeded: generator.next()) }, &context)
        try system.close()
        let inspector = try Inspector(device)
        let printed = try inspector.printedNode(try inspector.node(at: "/file"))
        let extents = try TestSupport.JSONValue(parsing: printed.json)["extents"]?.array ?? []
        for extent in extents {
            let first: UInt64 = try extent.whole("record")
            let count: UInt64 = try extent.whole("records")
            guard first + count == 2 else { continue }
            let blocks: UInt64 = try extent.whole("blocks")
            let block: UInt64 = try extent.whole("block")
            let place = (block + (count - 1) * (blocks / count)) * 4096
            try device.writeBytes(at: place, [try device.readBytes(at: place, count: 1)[0] ^ 1])
        }
        let volume = try open(device)
        var lost: [Range<UInt64>] = []
        var read: UInt64 = 0
        try volume.readContent(file, 0..<UInt64(size), through: AlignedBuffer(byteCount: 1 << 20)) { _, bytes in
            read += UInt64(bytes.byteCount)
        } lost: { range, _ in
            lost.append(range)
        }
        #expect(read == 131_072)
        #expect(lost.first?.lowerBound == 131_072 && lost.last?.upperBound == UInt64(size))
        #expect(lost.reduce(0) { $0 + $1.count } == size - 131_072)
    }

    @Test func archiveOfADamagedFileIsWhole() throws {
        let (bad, good) = try damaged()
        let directory = try TemporaryDirectory()
        func archive(_ device: any BlockDevice, _ name: String) throws -> CopySummary {
            let file = try SystemCall.open(directory.file(name), O_WRONLY | O_CREAT, mode: 0o600)
            return try TreeExport.run(
                from: try open(device), path: "/",
                archive: ByteWriter(descriptor: file.rawValue, name: name), observer: nil)
        }
        func bytes(_ name: String) throws -> [UInt8] {
            let file = try SystemCall.open(directory.file(name), O_RDONLY)
            return try SystemCall.readToEnd(file.rawValue, limit: 1 << 27)
        }
        expectWarning(try archive(bad, "bad.tar"))
        #expect(try archive(good, "good.tar").warnings.isEmpty)
        let (found, wanted) = (try bytes("bad.tar"), try bytes("good.tar"))
        // The same to the last byte but for the record.
        try #require(found.count == wanted.count)
        let different = found.indices.filter { found[$0] != wanted[$0] }
        let first = try #require(different.first), last = try #require(different.last)
        #expect(last - first < 131_072)
        #expect(different.allSatisfy { found[$0] == 0 })
    }

    @Test func directoryGetsWhatCanBeRead() throws {
        let (bad, good) = try damaged()
        let directory = try TemporaryDirectory()
        let summary = try TreeExport.run(
            from: try open(bad), path: "/", to: directory.file("out"), salvages: false, observer: nil)
        expectWarning(summary)
        let path = directory.file("out/" + Self.path)
        let file = try SystemCall.open(path, O_RDONLY)
        let wanted = try open(good)
        let attributes = try wanted.resolve(Self.path)
        expectOnlyTheRecordIsLost(try SystemCall.readToEnd(file.rawValue, limit: 1 << 24), try content(wanted))
        let status = try SystemCall.status(file.rawValue)
        #expect(UInt16(truncatingIfNeeded: status.st_mode) & 0o7777 == attributes.mode)
        #expect(Int64(status.st_mtim.tv_sec) == attributes.mtime.seconds)
    }

    @Test func cloneGetsWhatCanBeRead() throws {
        let (bad, good) = try damaged()
        let directory = try TemporaryDirectory()
        var maker = ImageMaker(ImageReference(directory.file("copy.img")), now: Timespec())
        maker.byteCount = 32 << 20
        let summary = try maker.run(options: OpenOptions()) { (copy) throws(ToolFailure) in
            let old: ImageVolume
            do { old = try open(bad) } catch { throw ToolFailure("\(error)") }
            return try Clone.run(from: old, to: copy, now: Timespec(), salvages: false, observer: nil)
        }
        expectWarning(summary)
        let device = try FileDevice(path: directory.file("copy.img"), writable: false)
        let copy = try open(device)
        let wanted = try open(good)
        expectOnlyTheRecordIsLost(try content(copy), try content(wanted))
        #expect(try copy.resolve(Self.path).mode == wanted.resolve(Self.path).mode)
        #expect(try FileSystemCheck.check(device, CheckOptions(verifyData: true)).isConsistent)
    }

    @Test func manifestGoesOn() throws {
        let (bad, good) = try damaged()
        var warnings: [String] = []
        var found: [String] = []
        let volume = try open(bad)
        try Manifest(volume) { warnings.append($0) }.write(try volume.resolve("/"), path: "/") { found.append($0.text) }
        var wanted: [String] = []
        let whole = try open(good)
        try Manifest(whole).write(try whole.resolve("/"), path: "/") { wanted.append($0.text) }
        try #require(found.count == wanted.count)
        let different = found.indices.filter { found[$0] != wanted[$0] }
        #expect(different.count == 1)
        #expect(different.allSatisfy { found[$0].contains(Self.path) && found[$0].hasSuffix("\"sha256\":null}") })
        #expect(warnings.count == 1)
    }

    /// A source that fails in the middle of a file's content.
    private final class FailingSource: TreeSource {
        private var rest: [TreeEntry]
        private var current: TreeEntry?

        init(_ entries: [TreeEntry]) { rest = entries.reversed() }

        func next() -> TreeEntry? {
            current = rest.popLast()
            return current
        }

        func readContent(_ body: (UInt64, RawSpan) throws(ToolFailure) -> Void) throws(ToolFailure) {
            try body(0, [UInt8](repeating: 7, count: 100).rawBytes)
            if current?.path == [[0x61]] { throw ToolFailure("a fails", concernsOneEntry: true) }
        }
    }

    @Test func whatFollowsAFailedFileIsInItsPlace() throws {
        let directory = try TemporaryDirectory()
        var entries: [TreeEntry] = []
        for (name, size) in [(UInt8(0x61), UInt64(3000)), (0x62, 100)] {
            var entry = TreeEntry(path: [[name]], kind: .file, mode: 0o640)
            entry.size = size
            entries.append(entry)
        }
        let path = directory.file("archive")
        do {
            let file = try SystemCall.open(path, O_WRONLY | O_CREAT, mode: 0o600)
            let sink = TarTreeSink(ByteWriter(descriptor: file.rawValue, name: path))
            let summary = try TreeCopy.run(from: FailingSource(entries), to: sink)
            #expect(summary.warnings == ["a fails"])
        }
        let source = TarTreeSource(try ByteReader(path: path)) { _ in }
        var sizes: [UInt64] = []
        while let entry = try source.next() {
            sizes.append(entry.size)
            try source.readContent { _, _ in }
        }
        #expect(sizes == [3000, 100])
        let host = try HostTreeSink(directory: directory.file("out")) { _ in }
        _ = try TreeCopy.run(from: FailingSource(entries), to: host)
        let status = try SystemCall.statusAt(AT_FDCWD, directory.file("out/a"))
        #expect(status.st_size == 3000 && status.st_mode & 0o7777 == 0o640)
    }
}
