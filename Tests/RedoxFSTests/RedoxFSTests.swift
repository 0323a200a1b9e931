import BlockDevice
import DiskFormat
import FileSystemCheck
import RedoxFS
import TestSupport
import Testing

/// What tests of the engine share.
enum Engine {
    /// A fixed time.
    static let time = Timespec(seconds: 1_700_000_000, nanoseconds: 5)
    /// A context with it.
    static var context: RequestContext { RequestContext(time: time, uid: 1000, gid: 1000) }

    /// A new file system in memory, or on a device of some kind.
    static func make(
        byteCount: Int = 16 << 20, options: OpenOptions = OpenOptions()
    ) throws -> (MemoryDevice, FileSystem) {
        let device = MemoryDevice(byteCount: byteCount)
        try format(device)
        return (device, try FileSystem(opening: device, options: options))
    }

    /// Makes a file system on a device.
    static func format(_ device: any BlockDevice) throws {
        try FileSystem.format(device, FormatOptions(uuid: Bytes16(low: 1, high: 2), time: time))
    }

    /// Expects that a check finds nothing.
    static func expectClean(
        _ device: any BlockDevice, _ note: String = "", sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let report = try FileSystemCheck.check(device, CheckOptions(verifyData: true))
        #expect(report.isClean, "\(note) \(report.findings.prefix(5))", sourceLocation: sourceLocation)
    }

    /// Bytes that look random.
    static func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
        var generator = SplitMix(seed: seed)
        var result: [UInt8] = []
        result.reserveCapacity(count + 8)
        while result.count < count {
            var word = generator.next()
            for _ in 0..<8 {
                result.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        result.removeLast(result.count - count)
        return result
    }
}

@Suite struct GoldenImages {
    @Test(arguments: GoldenImage.allCases)
    func contentsEqualTheManifest(_ image: GoldenImage) throws {
        var options = OpenOptions()
        options.readOnly = true
        options.password = image.password
        let device = try image.device(isWritable: false)
        try compare(try FileSystem(opening: device, options: options), try image.manifest())
    }

    /// Opened for writing, something is changed and taken back: everything else stays as it was, and a check finds no more
    /// than before.
    @Test(arguments: GoldenImage.allCases)
    func survivesAChange(_ image: GoldenImage) throws {
        var options = OpenOptions()
        options.password = image.password
        let device = try image.device()
        var check = CheckOptions(verifyData: true)
        check.password = image.password
        let before = try FileSystemCheck.check(device, check)
        do {
            let system = try FileSystem(opening: device, options: options)
            var context = Engine.context
            let file = try system.create(.root, "a new file", &context)
            try system.write(file.node, Engine.bytes(image == .full ? 1_000 : 20_000, seed: 1), &context)
            try system.commit()
            try system.unlink(.root, "a new file", &context)
            try system.close()
        }
        let after = try FileSystemCheck.check(device, check)
        #expect(after.count(of: .corruption) == 0, "\(after.findings.prefix(5))")
        #expect(after.count(of: .inconsistency) <= before.count(of: .inconsistency), "\(after.findings.prefix(5))")
        if image != .unclean { #expect(after.leaked == before.leaked) }
        options.readOnly = true
        try compare(try FileSystem(opening: device, options: options), try image.manifest(), rootChanged: true)
    }

    private func compare(_ system: FileSystem, _ manifest: GoldenManifest, rootChanged: Bool = false) throws {
        var seen = 0
        for entry in manifest.entries {
            let attributes = try system.resolve(entry.path)
            seen += 1
            #expect(attributes.node.rawValue == entry.node, "\(entry.path)")
            #expect(attributes.size == entry.size, "\(entry.path)")
            #expect(String(attributes.mode, radix: 8) == String(Int(entry.mode, radix: 8) ?? -1, radix: 8))
            #expect(attributes.uid == entry.uid && attributes.gid == entry.gid, "\(entry.path)")
            #expect(attributes.storedLinks == entry.nlink, "\(entry.path)")
            if !(rootChanged && entry.path == "/") {
                #expect(attributes.mtime == Timespec(seconds: entry.mtime, nanoseconds: entry.mtimeNanoseconds))
                #expect(attributes.atime == Timespec(seconds: entry.atime, nanoseconds: entry.atimeNanoseconds))
            }
            #expect(attributes.btime == Timespec(seconds: entry.ctime, nanoseconds: entry.ctimeNanoseconds))
            if let target = entry.target {
                #expect(try system.readSymbolicLink(attributes.node) == Array(target.utf8))
            }
            if let sha256 = entry.sha256 {
                let digest = SHA256()
                var offset: UInt64 = 0
                while offset < entry.size {
                    let part = try system.read(attributes.node, at: offset, count: 300_000)
                    digest.update(part)
                    offset += UInt64(part.count)
                }
                #expect(digest.finish() == sha256, "\(entry.path)")
            }
            for segment in manifest.segments?[entry.path] ?? [] {
                let part = try system.read(attributes.node, at: segment.offset, count: segment.length)
                #expect(SHA256.of(part) == segment.sha256, "\(entry.path) at \(segment.offset)")
            }
        }
        // The directories hold exactly that.
        var found = 1
        var queue: [NodeID] = [.root]
        while let directory = queue.popLast() {
            for entry in try system.entries(of: directory) {
                found += 1
                if entry.kind == .directory { queue.append(entry.node) }
            }
        }
        #expect(found == seen)
    }
}
