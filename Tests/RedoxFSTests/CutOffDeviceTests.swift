import BlockDevice
import DiskFormat
import Testing

@testable import RedoxFS

/// A device that is shorter than the file system on it: what lies in front of its end can be read, and nothing is written.
@Suite struct CutOffDeviceTests {
    private func makeImage() throws -> [UInt8] {
        let (device, system) = try Engine.make(byteCount: 4 << 20)
        var context = Engine.context
        let file = try system.create(.root, "file", &context).node
        try system.write(file, at: 0, [UInt8](repeating: 7, count: 5000), &context)
        try system.close()
        return try device.readBytes(at: 0, count: 4 << 20)
    }

    private func open(_ image: [UInt8], _ length: Int, readOnly: Bool) throws -> FileSystem {
        var options = OpenOptions()
        options.readOnly = readOnly
        return try FileSystem(opening: MemoryDevice(contents: Array(image.prefix(length))), options: options)
    }

    @Test func whatIsThereIsRead() throws {
        let image = try makeImage()
        let system = try open(image, 3 << 20, readOnly: true)
        let file = try system.resolve("file").node
        #expect(try system.read(file, at: 0, count: 8000) == [UInt8](repeating: 7, count: 5000))
        #expect(throws: FileSystemError.self) { try open(image, 3 << 20, readOnly: false) }
    }

    /// Wherever the end lies, it is an error or it works.
    @Test func everyEndIsAnAnswer() throws {
        let image = try makeImage()
        for blocks in 1..<330 {
            guard let system = try? open(image, blocks * 4096, readOnly: true) else { continue }
            _ = try? system.resolve("file")
            _ = system.statistics()
        }
        #expect(throws: FileSystemError.self) { try open(image, 257 * 4096, readOnly: true) }
    }

    /// A log that leads nowhere keeps nobody from reading.
    @Test func theLogIsNotReadFor() throws {
        var image = try makeImage()
        var newest: (block: Int, header: Header)?
        for block in 0..<256 {
            guard let header = try? Header(decoding: image.rawBytes.extracting(block * 4096..<(block + 1) * 4096))
            else { continue }
            if newest.map({ $0.header.generation < header.generation }) ?? true { newest = (block, header) }
        }
        var (block, header) = try #require(newest)
        header.allocationLog.address = BlockAddress(number: 1 << 40, level: 0)
        header.seal()
        image.replaceSubrange(block * 4096..<(block + 1) * 4096, with: header.bytes)
        #expect((try? open(image, image.count, readOnly: true).resolve("file")) != nil)
        #expect(throws: FileSystemError.self) { try open(image, image.count, readOnly: false) }
    }
}
