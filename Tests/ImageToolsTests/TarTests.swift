import BlockDevice
import DiskFormat
import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

@testable import ImageTools

@Suite struct TarHeaderTests {
    @Test func headersRoundTrip() throws {
        var header = TarHeader()
        header.name = Array("some/name".utf8)
        header.mode = 0o4755
        header.uid = 0o7777777
        header.gid = 1 << 40
        header.size = 1 << 50
        header.modified = 1_700_000_000
        header.type = 0x34
        header.linkName = Array("target".utf8)
        header.major = 8
        header.minor = 300
        let decoded = try TarHeader(decoding: header.encode())
        #expect(decoded.name == header.name)
        #expect(decoded.linkName == header.linkName)
        let numbers = [decoded.mode, decoded.uid, decoded.gid, decoded.size, decoded.major, decoded.minor]
        #expect(numbers == [header.mode, header.uid, header.gid, header.size, 8, 300])
        #expect(decoded.modified == header.modified)
    }

    @Test func everyFlippedBitOfAHeaderIsFoundOrHarmless() throws {
        var header = TarHeader()
        header.name = Array("name".utf8)
        let block = header.encode()
        var found = 0
        for bit in 0..<512 * 8 {
            var damaged = block
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            if (try? TarHeader(decoding: damaged)) == nil { found += 1 }
        }
        // Harmless are those that turn the end of the checksum's own field into another end.
        #expect(found >= 512 * 8 - 8)
    }

    @Test(arguments: [
        ("0000644\0", Int64(0o644)), ("   644 \0", 0o644), ("\0\0\0\0\0\0\0\0", 0), ("        ", 0),
        ("77777777", 0o77777777),
    ])
    func octalNumbers(_ text: String, _ value: Int64) {
        #expect(TarHeader.number(Array(text.utf8)[...]) == value)
    }

    @Test func strangeNumbersAreRefused() {
        for text in ["9", "-1", "0x1", "12 3", "1\u{0}2"] {
            #expect(TarHeader.number(Array(text.utf8)[...]) == nil, "\(text)")
        }
        #expect(TarHeader.number([UInt8](repeating: 0x37, count: 40)[...]) == nil)
        #expect(TarHeader.number([0x80, 0, 0, 1, 0][...]) == 256)
        #expect(TarHeader.number([0xFF, 0xFF, 0xFF, 0xFE][...]) == -2)
        #expect(TarHeader.number(([0x80] + [UInt8](repeating: 0xFF, count: 11))[...]) == nil)
    }

    @Test(arguments: [
        Timespec(seconds: 0), Timespec(seconds: -1, nanoseconds: 1), Timespec(seconds: -2, nanoseconds: 500_000_000),
        Timespec(seconds: 5, nanoseconds: 7), Timespec(seconds: 1 << 40, nanoseconds: 999_999_999),
        Timespec(seconds: -5, nanoseconds: 0),
    ])
    func timesRoundTrip(_ time: Timespec) {
        #expect(PaxTime.decode(Array(PaxTime.encode(time).utf8)) == time)
    }

    @Test func timesAreRead() {
        #expect(PaxTime.decode(Array("-1.5".utf8)) == Timespec(seconds: -2, nanoseconds: 500_000_000))
        #expect(PaxTime.decode(Array("12.0000000019".utf8)) == Timespec(seconds: 12, nanoseconds: 1))
        for text in ["", "x", "1.x", ".5", "--1", "99999999999999999999"] {
            #expect(PaxTime.decode(Array(text.utf8)) == nil, "\(text)")
        }
    }

    @Test func recordsRoundTripAtEveryLength() throws {
        for length in 0..<1100 {
            var records = PaxRecords()
            records.append("path", [UInt8](repeating: 0x0A, count: length))
            records.append("k", "v=\n")
            let decoded = try #require(PaxRecords(decoding: records.encode()))
            try #require(decoded["path"]?.count == length && decoded["k"] == Array("v=\n".utf8))
        }
        for text in ["5", "5 a", "9999 a=b\n", "0 a=b\n", "-5 a=b\n", "7 a=bc\nx", "6 abc\n"] {
            #expect(PaxRecords(decoding: Array(text.utf8)) == nil, "\(text)")
        }
    }
}

/// Reads an archive that lies in memory, through a file.
private func entries(_ archive: [UInt8], _ directory: TemporaryDirectory) throws -> [(TreeEntry, [UInt8])] {
    let path = directory.file("archive")
    do {
        let file = try SystemCall.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
        try SystemCall.writeAll(file.rawValue, archive.rawBytes)
    }
    let source = TarTreeSource(try ByteReader(path: path)) { _ in }
    var result: [(TreeEntry, [UInt8])] = []
    while true {
        do {
            guard let entry = try source.next() else { return result }
            var content: [UInt8] = []
            var total: UInt64 = 0
            try source.readContent { (_, bytes) in
                total += UInt64(bytes.byteCount)
                if content.count < 1 << 20 { unsafe bytes.withUnsafeBytes { unsafe content.append(contentsOf: $0) } }
            }
            result.append((entry, content))
        } catch {
            if !error.concernsOneEntry { throw error }
        }
    }
}

private func archive(_ directory: TemporaryDirectory, _ entries: [(TreeEntry, [UInt8])]) throws -> [UInt8] {
    let path = directory.file("written")
    let file = try SystemCall.open(path, O_RDWR | O_CREAT | O_TRUNC, mode: 0o600)
    let sink = TarTreeSink(ByteWriter(descriptor: file.rawValue, name: path))
    for (entry, content) in entries {
        try sink.begin(entry)
        var start = 0
        for extent in entry.extents ?? [0..<UInt64(content.count)] where entry.kind == .file {
            let count = Int(extent.upperBound - extent.lowerBound)
            try sink.write(at: extent.lowerBound, content.rawBytes.extracting(start..<start + count))
            start += count
        }
        try sink.end()
    }
    try sink.finish()
    let read = try SystemCall.open(path, O_RDONLY)
    return try SystemCall.readToEnd(read.rawValue, limit: 1 << 26)
}

@Suite struct TarArchiveTests {
    private func sample() -> [(TreeEntry, [UInt8])] {
        var top = TreeEntry(path: [], kind: .directory, mode: 0o755)
        top.modified = Timespec(seconds: 3, nanoseconds: 4)
        let long = [UInt8](repeating: 0x61, count: 200)
        var file = TreeEntry(path: [long, Array("ü".utf8)], kind: .file, mode: 0o4640)
        file.uid = 4_000_000_000
        file.gid = 3_000_000
        file.size = 1000
        file.attributes = [ExtendedAttribute(name: Array("user.x".utf8), value: [0, 0x0A, 0x3D, 255])]
        var sparse = TreeEntry(path: [Array("sparse".utf8)], kind: .file, mode: 0o600)
        sparse.size = 1 << 40
        sparse.extents = [4096..<8192, 1 << 30..<(1 << 30) + 5]
        var empty = TreeEntry(path: [Array("hole".utf8)], kind: .file, mode: 0o600)
        empty.size = 77
        empty.extents = []
        var link = TreeEntry(path: [Array("link".utf8)], kind: .symbolicLink, mode: 0o777)
        link.target = [UInt8](repeating: 0x7A, count: 300)
        var hard = TreeEntry(path: [Array("hard".utf8)], kind: .file, mode: 0o4640)
        hard.hardLink = file.path
        var device = TreeEntry(path: [Array("null".utf8)], kind: .characterDevice, mode: 0o666)
        device.device = DeviceNumber(major: 1, minor: 3)
        return [
            (top, []), (file, noise(1000, seed: 1)), (sparse, noise(4101, seed: 2)), (empty, []), (link, []),
            (hard, []), (device, []),
        ]
    }

    @Test func whatIsWrittenIsRead() throws {
        let directory = try TemporaryDirectory()
        let written = sample()
        let read = try entries(try archive(directory, written), directory)
        try #require(read.count == written.count)
        for ((wanted, content), (entry, found)) in zip(written, read) {
            #expect(entry.path == wanted.path)
            #expect(entry.hardLink == wanted.hardLink)
            if wanted.hardLink != nil { continue }
            #expect(entry.kind == wanted.kind)
            #expect(entry.mode == wanted.mode)
            #expect([entry.uid, entry.gid] == [wanted.uid, wanted.gid])
            #expect(entry.size == wanted.size)
            #expect(entry.modified == wanted.modified)
            #expect(entry.target == wanted.target)
            #expect(entry.device == wanted.device)
            #expect(entry.attributes == wanted.attributes)
            #expect(found == content)
            if let extents = wanted.extents { #expect(entry.extents == extents) }
        }
    }

    @Test func accessControlListsAreUnderstoodAsText() throws {
        let text = "user::rw-\nuser:1000:rw-:1000\nuser:root:r--,group::r-x,group:7:---\nmask::rw-,other::r--#effective"
        let value = try #require(AccessControlText.attributeValue(text))
        let entries: [[UInt8]] = [
            [2, 0, 0, 0], [1, 0, 6, 0, 255, 255, 255, 255], [2, 0, 4, 0, 0, 0, 0, 0], [2, 0, 6, 0, 0xE8, 3, 0, 0],
            [4, 0, 5, 0, 255, 255, 255, 255], [8, 0, 0, 0, 7, 0, 0, 0], [16, 0, 6, 0, 255, 255, 255, 255],
            [32, 0, 4, 0, 255, 255, 255, 255],
        ]
        #expect(value == entries.flatMap { $0 })
        for bad in ["", "user::rw-", "nonsense", "user::rwq,group::r--,other::r--", "user::r--,group::r--,other:5:r--"]
        {
            #expect(AccessControlText.attributeValue(bad) == nil, "\(bad)")
        }
        #expect(AccessControlText.attributeValue("user::r--,user:nobody by that name:r--,group::r--,other::r--") == nil)
    }

    @Test func accessControlListsAreWrittenAsTextToo() throws {
        let text = "user::rw-,user:1000:rw-,group::r-x,group:7:---,mask::rw-,other::r--"
        let value = try #require(AccessControlText.attributeValue(text))
        #expect(AccessControlText.text(value) == text)
        let strange: [[UInt8]] = [
            [], [2, 0, 0, 0], [1, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255], [2, 0, 0, 0, 3, 0, 6, 0, 0, 0, 0, 0],
        ]
        for bad in strange { #expect(AccessControlText.text(bad) == nil) }
        let directory = try TemporaryDirectory()
        var entry = TreeEntry(path: [[0x61]], kind: .directory, mode: 0o755)
        entry.attributes = ["access", "default"].map {
            ExtendedAttribute(name: Array("system.posix_acl_\($0)".utf8), value: value)
        }
        let bytes = try archive(directory, [(entry, [])])
        let written = String(decoding: bytes, as: UTF8.self)
        #expect(written.contains("SCHILY.acl.access=\(text)\n") && written.contains("SCHILY.acl.default=\(text)\n"))
        #expect(try entries(bytes, directory).first?.0.attributes == entry.attributes)
    }

    @Test func socketsAreWarnings() throws {
        let directory = try TemporaryDirectory()
        let file = try SystemCall.open(directory.file("a"), O_WRONLY | O_CREAT, mode: 0o600)
        var warnings: [String] = []
        let sink = TarTreeSink(ByteWriter(descriptor: file.rawValue, name: "a")) { warnings.append($0) }
        try sink.begin(TreeEntry(path: [[0x73]], kind: .socket, mode: 0o755))
        try sink.end()
        #expect(warnings.count == 1 && warnings[0].contains("socket"))
    }

    @Test func namesThatLeadOutAreRefused() throws {
        let directory = try TemporaryDirectory()
        for name in ["../x", "a/../../x", "a/.."] {
            var header = TarHeader()
            header.name = Array(name.utf8)
            let archive = header.encode() + [UInt8](repeating: 0, count: 1024)
            #expect(try entries(archive, directory).isEmpty, "\(name)")
        }
        var header = TarHeader()
        header.name = Array("/etc//./passwd".utf8)
        let found = try entries(header.encode() + [UInt8](repeating: 0, count: 1024), directory)
        #expect(found.first?.0.joinedPath == Array("etc/passwd".utf8))
    }

    @Test func damagedArchivesNeverTrap() throws {
        let directory = try TemporaryDirectory()
        let good = try archive(directory, sample())
        let seed: UInt64 = 11
        var generator = SeededGenerator(seed: seed)
        var refused = 0
        for _ in 0..<3000 {
            var bad = good
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let index = Int.random(in: 0..<bad.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bad[index] = UInt8.random(in: 0...255, using: &generator)
                case 1: bad[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                default: bad.removeLast(Int.random(in: 0..<bad.count / 2, using: &generator))
                }
                if bad.isEmpty { bad = [0] }
            }
            Self.repairChecksums(&bad)
            if (try? entries(bad, directory)) == nil { refused += 1 }
        }
        #expect(refused > 100)
    }

    /// With valid checksums the damage gets behind the first line of defence.
    private static func repairChecksums(_ archive: inout [UInt8]) {
        for start in stride(from: 0, through: archive.count - 512, by: 512) {
            guard Array(archive[start + 257..<start + 262]) == Array("ustar".utf8) else { continue }
            for index in 148..<156 { archive[start + index] = 0x20 }
            let sum = archive[start..<start + 512].reduce(0) { $0 + Int($1) }
            let digits = Array(String(sum, radix: 8).utf8)
            let text = [UInt8](repeating: 0x30, count: max(0, 6 - digits.count)) + digits + [0, 0x20]
            for index in 0..<8 { archive[start + 148 + index] = text[index] }
        }
    }
}
