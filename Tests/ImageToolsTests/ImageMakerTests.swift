import BlockDevice
import DiskFormat
import Glibc
import Platform
import RedoxFS
import TestSupport
import Testing

@testable import ImageTools

/// What mkfs and clone do to the place where they make a file system:
/// - nothing but zeros is overwritten without being asked to;
/// - until the file system is complete, no header of it can be found.
@Suite struct ImageMakerTests {
    private func make(
        _ path: String, size: UInt64? = nil, overwrites: Bool = false, boot: [UInt8] = [],
        _ body: (ImageVolume) throws(ToolFailure) -> Void = { (_) throws(ToolFailure) in }
    ) throws(ToolFailure) {
        var maker = ImageMaker(ImageReference(path), now: Timespec())
        maker.byteCount = size
        maker.overwrites = overwrites
        maker.bootLoader = boot
        try maker.run(options: OpenOptions(), body)
    }

    private func write(_ path: String, byteCount: UInt64, _ pieces: [(offset: UInt64, bytes: [UInt8])]) throws {
        let file = try FileDevice(creating: path, byteCount: byteCount)
        for piece in pieces { try file.writeBytes(at: piece.offset, piece.bytes) }
    }

    private func holdsFileSystem(_ path: String) throws -> Bool {
        try HeaderStore.firstHeader(try FileDevice(path: path, writable: false, locking: .none)) != nil
    }

    @Test(arguments: [
        ("ext4", UInt64(1080), [UInt8]([0x53, 0xEF])), ("XFS", 0, Array("XFSB".utf8)),
        ("Btrfs", 65600, Array("_BHRfS_M".utf8)), ("NTFS", 3, Array("NTFS    ".utf8)),
        ("FAT", 82, Array("FAT32   ".utf8)), ("swap", 4086, Array("SWAPSPACE2".utf8)),
        ("LUKS", 0, Array("LUKS".utf8) + [0xBA, 0xBE]), ("ISO 9660", 32769, Array("CD001".utf8)),
        // Anything else, in front and far behind.
        ("data", 0, [0xFF, 0xD8, 0xFF, 0xE0]), ("data", 7_000_001, [1]),
    ])
    func whatIsThereIsNotOverwritten(_ name: String, _ offset: UInt64, _ bytes: [UInt8]) throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("disk.img")
        try write(path, byteCount: 8 << 20, [(offset, bytes)])
        let failure = #expect(throws: ToolFailure.self) { try make(path) }
        #expect(failure?.message.contains(name) == true, "\(String(describing: failure))")
        #expect(failure?.advice?.contains("--force") == true)
        do {
            let device = try FileDevice(path: path, writable: false, locking: .none)
            #expect(try device.readBytes(at: offset, count: bytes.count) == bytes)
        }
        #expect(try !holdsFileSystem(path))
        try make(path, overwrites: true)
        #expect(try holdsFileSystem(path))
    }

    @Test func zerosAreOverwritten() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("disk.img")
        try write(path, byteCount: 8 << 20, [(1 << 20, [UInt8](repeating: 0, count: 100_000))])
        try make(path)
        #expect(try holdsFileSystem(path))
        let empty = directory.file("empty.img")
        try write(empty, byteCount: 0, [])
        try make(empty, size: 8 << 20)
        #expect(try holdsFileSystem(empty))
    }

    @Test func anUnfinishedFileSystemCannotBeFound() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("disk.img")
        try write(path, byteCount: 8 << 20, [])
        for boot in [[], noise(10_000, seed: 1)] {
            #expect(throws: ToolFailure.self) {
                try make(path, overwrites: true, boot: boot) { (volume) throws(ToolFailure) in
                    try TreeEdit(volume, now: Timespec()).makeDirectory("/half", mode: 0o755, withParents: false)
                    do { try volume.fileSystem.commit() } catch { throw ToolFailure("\(error)") }
                    // As it would be if the program ended here.
                    let device: FileDevice
                    do {
                        device = try FileDevice(path: path, writable: false, locking: .none)
                        #expect(try HeaderStore.firstHeader(device) == nil)
                    } catch { throw ToolFailure("\(error)") }
                    throw ToolFailure("enough")
                }
            }
            #expect(try !holdsFileSystem(path))
            try make(path, overwrites: true, boot: boot) { (volume) throws(ToolFailure) in
                for name in ["/a", "/b"] {
                    try TreeEdit(volume, now: Timespec()).makeDirectory(name, mode: 0o755, withParents: false)
                    do { try volume.fileSystem.commit() } catch { throw ToolFailure("\(error)") }
                }
            }
            let device = try FileDevice(path: path, writable: false, locking: .none)
            let count = try listing(device).count
            #expect(count == 3)
            if !boot.isEmpty { #expect(try device.readBytes(at: 0, count: boot.count) == boot) }
        }
    }

    @Test func bootLoaderWithAHeaderIsRefused() throws {
        let directory = try TemporaryDirectory()
        let image = try GoldenImage.empty.bytes()
        let path = directory.file("disk.img")
        let failure = #expect(throws: ToolFailure.self) {
            try make(path, size: 16 << 20, boot: [UInt8](repeating: 1, count: 8192) + image.prefix(100 << 10))
        }
        #expect(failure?.message.contains("boot loader") == true)
        #expect(!SystemCall.exists(path))
    }
}
