import BlockDevice
import DiskFormat
import FileSystemCheck
import FuzzSupport
import RedoxFS
import TestSupport
import Testing

/// Every single bit flip in a block of every kind is detected, traps nothing, and never lets wrong data through: what the
/// engine returns is what was written, or an error.
@Suite struct BitFlipTests {
    /// What a small image holds, by path.
    struct Content: Equatable {
        var files: [String: [UInt8]] = [:]
        var links: [String: [UInt8]] = [:]
        var names: [String: Set<String>] = [:]
        var attributes: [String: [UInt8]] = [:]
    }

    /// An image with a block of every kind: made by the engine, two commits with the same content.
    static func makeImage() throws -> MemoryDevice {
        let device = MemoryDevice(byteCount: 2 << 20)
        let time = Timespec(seconds: 1_700_000_000)
        try FileSystem.format(device, FormatOptions(uuid: Bytes16(low: 1, high: 2), time: time))
        let system = try FileSystem(opening: device)
        var context = RequestContext(time: time)
        let file = try system.create(.root, "file", kind: .file, mode: 0o644, &context).node
        try system.write(file, at: 0, noise(9000, seed: 1), &context)
        let packed = try system.create(.root, "packed", kind: .file, mode: 0o644, &context).node
        try system.write(packed, at: 0, [UInt8](repeating: 5, count: 16384), &context)
        // Behind the direct pointers, so that a list leads to it.
        let far = try system.create(.root, "far", kind: .file, mode: 0o644, &context).node
        try system.write(far, at: 130 * 131072, noise(3000, seed: 2), &context)
        let small = try system.create(.root, "inline", kind: .file, mode: 0o600, &context).node
        try system.write(small, at: 0, Array("inline".utf8), &context)
        _ = try system.createSymbolicLink(.root, "link", target: "target", &context)
        let large = try system.create(.root, "large", kind: .directory, mode: 0o755, &context).node
        // Names of one file: enough for two directory lists below a hash-tree block.
        for index in 0..<20 {
            try system.link(small, large, "entry-\(index)-" + String(repeating: "x", count: 230), &context)
        }
        let value = noise(9000, seed: 3)
        try system.setExtendedAttribute(file, Array("user.large".utf8), value.rawBytes, &context)
        let short: [UInt8] = [1, 2, 3]
        try system.setExtendedAttribute(file, Array("user.small".utf8), short.rawBytes, &context)
        // A node without a name that is still open: the release list.
        let unnamed = try system.createUnnamed(.root, mode: 0o600, &context).node
        try system.write(unnamed, at: 0, noise(4000, seed: 4), &context)
        _ = try system.commit()
        try system.setAttributes(file, AttributeChanges(mode: 0o640), &context)
        try system.setAttributes(file, AttributeChanges(mode: 0o644), &context)
        _ = try system.commit()
        return device
    }

    /// All that can be read; paths that can't be are left out.
    static func content(of device: any BlockDevice) -> Content {
        var content = Content()
        var options = OpenOptions()
        options.readOnly = true
        options.cacheBytes = 1 << 20
        guard let system = try? FileSystem(opening: device, options: options) else { return content }
        var queue: [(path: String, node: NodeID)] = [("", .root)]
        while let (path, node) = queue.popLast() {
            guard let attributes = try? system.attributes(node) else { continue }
            for name in (try? system.listExtendedAttributes(node)) ?? [] {
                let key = "\(path) \(String(decoding: name, as: UTF8.self))"
                content.attributes[key] = try? system.extendedAttribute(node, name)
            }
            switch attributes.kind {
            case .directory:
                guard let entries = try? system.entries(of: node) else { continue }
                content.names[path] = Set(entries.map { String(decoding: $0.name, as: UTF8.self) })
                for entry in entries where path.isEmpty {
                    queue.append((path + "/" + String(decoding: entry.name, as: UTF8.self), entry.node))
                }
            case .symbolicLink: content.links[path] = try? system.readSymbolicLink(node)
            case .file:
                guard let start = try? system.read(node, at: 0, count: 16384) else { continue }
                guard let end = try? system.read(node, at: 130 * 131072, count: 4096) else { continue }
                content.files[path] = start + end
            default: break
            }
        }
        return content
    }

    /// What is in `found` is in `whole` too, and equal.
    static func isPart(_ found: Content, of whole: Content) -> Bool {
        found.files.allSatisfy { whole.files[$0.key] == $0.value }
            && found.links.allSatisfy { whole.links[$0.key] == $0.value }
            && found.names.allSatisfy { whole.names[$0.key] == $0.value }
            && found.attributes.allSatisfy { whole.attributes[$0.key] == $0.value }
    }

    static let image = Result { try makeImage() }
    static let whole = Result { content(of: try image.get()) }

    @Test func imageHasEveryKind() throws {
        let surgeon = try #require(try ImageSurgeon(try Self.image.get()))
        #expect(Set(surgeon.pieces.map(\.kind)) == Set(ImageSurgeon.Piece.Kind.allCases))
        let whole = try Self.whole.get()
        #expect(whole.files.count == 4 && whole.links.count == 1 && whole.attributes.count == 2)
        #expect(whole.files["/file"] == noise(9000, seed: 1))
        #expect(
            try FileSystemCheck.check(try Self.image.get(), CheckOptions(verifyData: true, threads: 1)).isConsistent)
    }

    /// Every bit of a block through the engine; the check sees one bit of each byte, another one in each, and in a longer run all.
    @Test(arguments: ImageSurgeon.Piece.Kind.allCases)
    func everyBit(of kind: ImageSurgeon.Piece.Kind) throws {
        let surgeon = try #require(try ImageSurgeon(try Self.image.get()))
        let whole = try Self.whole.get()
        let piece = try #require(surgeon.pieces.firstIndex { $0.kind == kind })
        let block = surgeon.start + surgeon.pieces[piece].pointer.address.number
        let options = CheckOptions(verifyData: true, threads: 1, maximumFindings: 10, searchesWholeGeneration: false)
        for bit in 0..<4096 * 8 {
            var damaged = surgeon
            try damaged.editRaw(block: block) { $0[bit / 8] ^= 1 << (bit % 8) }
            let device = try damaged.device()
            let content = Self.content(of: device)
            if !Self.isPart(content, of: whole) { Issue.record("bit \(bit): wrong data") }
            if Self.readsEverything.contains(kind), content == whole { Issue.record("bit \(bit): not seen") }
            guard Self.isChecked(bit) else { continue }
            let report = try FileSystemCheck.check(device, options)
            if report.severity != .corruption { Issue.record("bit \(bit): not found") }
        }
    }

    /// Whether the check is to see this bit: a check takes longer than the engine's look, so it is one of each byte.
    private static func isChecked(_ bit: Int) -> Bool { bit / 8 % 8 == bit % 8 || MutatedImageTests.factor > 1 }

    /// The kinds whose blocks are read whenever all content is.
    static let readsEverything: Set<ImageSurgeon.Piece.Kind> = [
        .tree, .node, .list, .record, .hashTree, .directoryList, .attributes, .attributeValue,
    ]

    /// The newest header: either it is still the one (16 bytes are not hashed: it claims to be encrypted, and the others know
    /// better), or the one before counts, whose content is the same. Nothing is lost.
    @Test func everyBitOfTheHeader() throws {
        let surgeon = try #require(try ImageSurgeon(try Self.image.get()))
        let whole = try Self.whole.get()
        let block = surgeon.start + surgeon.header.generation.ringBlock
        for bit in 0..<4096 * 8 {
            var damaged = surgeon
            try damaged.editRaw(block: block) { $0[bit / 8] ^= 1 << (bit % 8) }
            let device = try damaged.device()
            if Self.content(of: device) != whole { Issue.record("bit \(bit): not all is read") }
            let isUnhashed = Header.Offset.encryptedHash..<Header.Offset.hash ~= bit / 8
            guard isUnhashed || Self.isChecked(bit) else { continue }
            let options = CheckOptions(threads: 1, maximumFindings: 10, searchesWholeGeneration: false)
            let report = try FileSystemCheck.check(device, options)
            let rule = isUnhashed ? Rule.headerEncryptedHashWrong : .headerTorn
            if report.counts[rule] != 1 { Issue.record("bit \(bit): not found") }
        }
    }

    /// The same 16 bytes of an encrypted disk: the password opens it as before.
    @Test func everyBitOfTheEncryptedHash() throws {
        let device = MemoryDevice(byteCount: 2 << 20)
        let time = Timespec(seconds: 1_700_000_000)
        let password = Array("secret".utf8)
        let keys = FormatOptions.Encryption(
            password: password, salt: Bytes16(low: 3, high: 4), dataKey: Bytes16(low: 5, high: 6),
            tweakKey: Bytes16(low: 7, high: 8))
        var format = FormatOptions(uuid: Bytes16(low: 1, high: 2), time: time)
        format.encryption = keys
        try FileSystem.format(device, format)
        var options = OpenOptions()
        options.password = password
        let system = try FileSystem(opening: device, options: options)
        var context = RequestContext(time: time)
        _ = try system.create(.root, "name", kind: .file, mode: 0o644, &context)
        try system.close()
        let surgeon = try #require(try ImageSurgeon(device, password: password))
        let block = surgeon.start + surgeon.header.generation.ringBlock
        options.readOnly = true
        for bit in Header.Offset.encryptedHash * 8..<Header.Offset.hash * 8 {
            var damaged = surgeon
            try damaged.editRaw(block: block) { $0[bit / 8] ^= 1 << (bit % 8) }
            let device = try damaged.device()
            let opened = try FileSystem(opening: device, options: options)
            #expect(opened.openedGeneration == surgeon.header.generation && (try? opened.resolve("name")) != nil)
            let report = try FileSystemCheck.check(device, CheckOptions(password: password, threads: 1))
            #expect(report.counts == [.headerEncryptedHashWrong: 1])
        }
        options.password = Array("wrong".utf8)
        #expect(throws: FileSystemError.self) { try FileSystem(opening: device, options: options) }
    }
}
