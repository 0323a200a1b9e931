import BlockDevice
import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

@Suite struct FileDeviceTests {
    @Test func secondWriterIsToldWhoHoldsTheImage() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("image")
        let first = try FileDevice(creating: path, byteCount: 8192)
        let error = #expect(throws: BlockDeviceError.self) { _ = try FileDevice(path: path, writable: true) }
        #expect(error?.errno == .resourceBusy)
        #expect(error?.description.contains("process \(getpid()) (") == true)
        #expect(throws: BlockDeviceError.self) { _ = try FileDevice(path: path, writable: false) }
        // Without a lock reading is possible: the image is being looked at.
        let viewer = try FileDevice(path: path, writable: false, locking: .none)
        #expect(viewer.byteCount == first.byteCount)
    }

    @Test func readersShareAndKeepWritersOut() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("image")
        try FileDevice(creating: path, byteCount: 8192).flush()
        let one = try FileDevice(path: path, writable: false)
        let two = try FileDevice(path: path, writable: false)
        #expect(one.byteCount == two.byteCount)
        #expect(throws: BlockDeviceError.self) { _ = try FileDevice(path: path, writable: true) }
    }

    @Test func lockEndsWithTheDevice() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("image")
        for _ in 0..<3 { try FileDevice(creating: path, byteCount: 8192).flush() }
        #expect(try FileDevice(path: path, writable: true).isWritable)
    }

    @Test func readOnlyNeverWrites() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("image")
        try FileDevice(creating: path, byteCount: 8192).flush()
        let before = try SystemCall.statusAt(AT_FDCWD, path)
        let device = try FileDevice(path: path, writable: false)
        #expect(throws: BlockDeviceError.readOnly) { try device.writeBytes(at: 0, [1]) }
        #expect(throws: BlockDeviceError.readOnly) { try device.resize(to: 1) }
        #expect(throws: BlockDeviceError.readOnly) { try device.discard(at: 0, byteCount: 4096) }
        try device.flush()
        let after = try SystemCall.statusAt(AT_FDCWD, path)
        #expect(before.st_mtim.tv_nsec == after.st_mtim.tv_nsec && before.st_mtim.tv_sec == after.st_mtim.tv_sec)
        #expect(before.st_size == after.st_size)
    }

    @Test func whatKeepsNoBytesIsRefused() throws {
        let directory = try TemporaryDirectory()
        let pipe = directory.file("pipe")
        try SystemCall.retrying { unsafe mkfifo(pipe, 0o600) }
        for path in [directory.path, pipe, "/dev/null"] {
            #expect(throws: BlockDeviceError.notADevice(path: path)) {
                _ = try FileDevice(path: path, writable: false)
            }
            #expect(throws: BlockDeviceError.notADevice(path: path)) {
                _ = try FileDevice(creating: path, byteCount: 4096)
            }
        }
        let missing = directory.file("missing")
        #expect(throws: BlockDeviceError.cannotOpen(.noSuchFileOrDirectory, path: missing)) {
            _ = try FileDevice(path: missing, writable: true)
        }
    }

    @Test func fileThatShrinksUnderneathIsAnError() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("image")
        let device = try FileDevice(creating: path, byteCount: 8192)
        try SystemCall.retrying { unsafe truncate(path, 5000) }
        let expected = BlockDeviceError.io(.ioError, offset: 5000, length: 3192, operation: .read)
        #expect(throws: expected) { _ = try device.readBytes(at: 0, count: 8192) }
        #expect(try device.readBytes(at: 0, count: 5000).count == 5000)
    }

    @Test func discardMakesHoles() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("image")
        let device = try FileDevice(creating: path, byteCount: 1 << 20)
        try device.writeBytes(at: 0, noise(1 << 20, seed: 1))
        try device.flush()
        try device.discard(at: 65536, byteCount: 524_288)
        try device.discard(at: 0, byteCount: 0)
        #expect(device.byteCount == 1 << 20)
        #expect(try device.readBytes(at: 0, count: 65536) == Array(noise(1 << 20, seed: 1)[..<65536]))
        #expect(try SystemCall.statusAt(AT_FDCWD, path).st_size == 1 << 20)
    }

    @Test func creatingKeepsContentsAndSetsSize() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("image")
        do {
            let device = try FileDevice(creating: path, byteCount: 10_000)
            try device.writeBytes(at: 0, [1, 2, 3])
        }
        let device = try FileDevice(creating: path, byteCount: 20_000)
        #expect(device.byteCount == 20_000)
        #expect(try device.readBytes(at: 0, count: 4) == [1, 2, 3, 0])
        #expect(!device.isBlockSpecial)
    }

    /// What lay behind the new end is gone: neither a write nor a flush pretends that all is well.
    @Test func aFileThatSomebodyCutOffFails() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("image")
        let device = try FileDevice(creating: path, byteCount: 65536)
        let buffer = AlignedBuffer(byteCount: 4096)
        try device.write(at: 61440, [BufferSlice(buffer, 0..<4096)])
        try device.flush()
        #expect(unsafe truncate(path, 8192) == 0)
        #expect(throws: BlockDeviceError.self) { try device.write(at: 61440, [BufferSlice(buffer, 0..<4096)]) }
        #expect(throws: BlockDeviceError.self) { try device.flush() }
        #expect(try FileDevice(path: path, writable: false, locking: .none).byteCount == 8192)
        // Made longer on purpose, by us.
        try device.resize(to: 131_072)
        try device.write(at: 126_976, [BufferSlice(buffer, 0..<4096)])
        try device.flush()
    }
}
