import BlockCodec
import BlockDevice
import DiskFormat
import FileSystemCheck
import Glibc
import Platform
import RedoxFS
import TestSupport
import Testing

@testable import ImageTools

/// What a volume holds, as lines of its manifest without node numbers and without the time of creation.
func listing(_ device: any BlockDevice, password: [UInt8]? = nil) throws -> [String] {
    var options = OpenOptions()
    options.readOnly = true
    options.password = password
    let volume = try ImageVolume(device, name: "test", options: options)
    var lines: [String] = []
    try Manifest(volume).write(try volume.resolve("/"), path: "/") { (line) throws(ToolFailure) in
        guard case .object(let members) = line else { return }
        let kept = members.filter { $0.0 != "node" && $0.0 != "ctime" }
        lines.append(ImageTools.JSONValue.object(kept).text)
    }
    return lines
}

@Suite struct ResizeTests {
    private static let images: [GoldenImage] = [.smallTree, .reserved, .encrypted, .sparse, .unclean, .full, .archived]

    @Test(arguments: images)
    func contentSurvivesEverySize(_ image: GoldenImage) throws {
        let device = try image.device()
        let before = try listing(device, password: image.password)
        let options = CheckOptions(password: image.password)
        let time = Timespec(seconds: 1_800_000_000)
        let smallest = try FileSystemCheck.resize(device, to: nil, options, time: time)
        #expect(smallest.newByteCount <= smallest.oldByteCount)
        try device.resize(to: smallest.newByteCount)
        #expect(try listing(device, password: image.password) == before)
        if smallest.newByteCount < smallest.oldByteCount { try expectSound(device, options) }
        try device.resize(to: 80 << 20)
        let grown = try FileSystemCheck.resize(device, to: 80 << 20, options, time: time)
        #expect(grown.newByteCount == 80 << 20)
        #expect(try listing(device, password: image.password) == before)
        try expectSound(device, options)
        // The engine can go on writing.
        var open = OpenOptions()
        open.password = image.password
        let volume = try ImageVolume(device, name: "test", options: open)
        var context = RequestContext(time: time)
        let file = try volume.fileSystem.create(.root, "after resizing", &context)
        _ = try volume.fileSystem.write(file.node, noise(3_000_000, seed: 1), &context)
        try volume.close()
        #expect(try FileSystemCheck.check(device, options).isConsistent)
    }

    /// Nothing is wrong and nothing leaks; benign habits of another writer stay what they are.
    private func expectSound(_ device: any BlockDevice, _ options: CheckOptions) throws {
        let report = try FileSystemCheck.check(device, options)
        #expect(report.isConsistent && report.leaked == 0, "\(report.findings)")
    }

    @Test func whatDoesNotFitChangesNothing() throws {
        let device = try GoldenImage.smallTree.device()
        let before = device.snapshot()
        #expect(throws: ResizeError.self) {
            _ = try FileSystemCheck.resize(device, to: 2 << 20, time: Timespec())
        }
        #expect(throws: ResizeError.self) {
            _ = try FileSystemCheck.resize(device, to: 1 << 40, time: Timespec())
        }
        #expect(device.snapshot() == before)
    }

    /// The size that is said to be needed is enough.
    @Test(arguments: [GoldenImage.smallTree, .empty, .reserved])
    func theSizeThatIsNamedIsEnough(_ image: GoldenImage) throws {
        let device = try image.device()
        let time = Timespec(seconds: 5)
        var named: UInt64 = 0
        do throws(ResizeError) {
            _ = try FileSystemCheck.resize(device, to: 1 << 20, time: time)
        } catch {
            if case .tooSmall(let minimum) = error { named = minimum }
        }
        #expect(named > 1 << 20)
        #expect(try FileSystemCheck.resize(device, to: named, time: time).newByteCount == named)
        try device.resize(to: named)
        #expect(try FileSystemCheck.check(device).isConsistent)
    }

    @Test func powerLossLeavesAWholeFileSystem() throws {
        let base = try GoldenImage.churn.device(isWritable: false)
        let before = try listing(base)
        let device = SimulatedDevice(over: base)
        let report = try FileSystemCheck.resize(device, to: 9 << 20, time: Timespec(seconds: 5))
        #expect(report.movedBlocks > 0)
        var states = device.crashStates()
        var count = 0
        for point in stride(from: 0, through: states.lastPoint, by: 7) {
            for seed in UInt64(0)..<4 {
                let state = try states.state(at: point, seed: seed)
                try #require(try FileSystemCheck.check(state.device).isConsistent, "point \(point), seed \(seed)")
                if count % 20 == 0 { try #require(try listing(state.device) == before) }
                count += 1
            }
        }
        #expect(count > 50)
    }
}

@Suite struct PasswordTests {
    private let old: [UInt8] = Array("password".utf8)
    private let new: [UInt8] = Array("another".utf8)

    private func opens(_ device: any BlockDevice, _ password: [UInt8]) -> Bool {
        (try? listing(device, password: password)) != nil
    }

    @Test func passwordsComeAndGo() throws {
        let device = try GoldenImage.encrypted.device()
        let change = { () throws -> PasswordChange in try PasswordChange(device, name: "test") }
        let before = try listing(device, password: old)
        #expect(throws: ToolFailure.self) { _ = try change().run(.remove, password: old) }
        #expect(throws: ToolFailure.self) { _ = try change().run(.add(new: new), password: new) }
        #expect(try change().run(.add(new: new), password: old) == 2)
        #expect(opens(device, old) && opens(device, new))
        #expect(try change().run(.remove, password: old) == 1)
        #expect(!opens(device, old) && opens(device, new))
        #expect(try change().run(.change(new: old), password: new) == 1)
        #expect(opens(device, old) && !opens(device, new))
        #expect(try listing(device, password: old) == before)
        #expect(try FileSystemCheck.check(device, CheckOptions(password: old)).isConsistent)
    }

    @Test func aPasswordIsNotAddedTwice() throws {
        let device = try GoldenImage.encrypted.device()
        let change = { () throws -> PasswordChange in try PasswordChange(device, name: "test") }
        #expect(throws: ToolFailure.self) { _ = try change().run(.add(new: old), password: old) }
        #expect(try change().run(.add(new: new), password: old) == 2)
        #expect(throws: ToolFailure.self) { _ = try change().run(.add(new: old), password: new) }
        #expect(throws: ToolFailure.self) { _ = try change().run(.change(new: new), password: old) }
        #expect(try change().slotCount == 2)
        #expect(opens(device, old) && opens(device, new))
    }

    /// Another program may have put the same password into two slots.
    private func deviceWithTwoSlotsOfOnePassword() throws -> MemoryDevice {
        let device = try GoldenImage.encrypted.device()
        let store = try #require(try HeaderStore(device))
        var header = store.newest
        let (cipher, _) = try #require(try KeySlots.unlock(header, password: old))
        let salt = Bytes16(low: 9, high: 9)
        let slot = try KeySlots.make(password: old, salt: salt, key1: cipher.keys.data, key2: cipher.keys.tweak)
        _ = try KeySlots.add(slot, to: &header)
        try header.seal(with: cipher)
        try store.writeDurably(header)
        return device
    }

    @Test func allSlotsOfAPasswordAreTakenAway() throws {
        let device = try deviceWithTwoSlotsOfOnePassword()
        let change = { () throws -> PasswordChange in try PasswordChange(device, name: "test") }
        #expect(try change().slotCount == 2)
        // Both slots are its own: there is no other password.
        #expect(throws: ToolFailure.self) { _ = try change().run(.remove, password: old) }
        #expect(try change().run(.add(new: new), password: old) == 3)
        #expect(try change().run(.remove, password: old) == 1)
        #expect(!opens(device, old) && opens(device, new))
        let other = try deviceWithTwoSlotsOfOnePassword()
        #expect(try PasswordChange(other, name: "test").run(.change(new: new), password: old) == 1)
        #expect(!opens(other, old) && opens(other, new))
    }

    @Test func takenPasswordsOpenNoOlderGeneration() throws {
        let device = try GoldenImage.encrypted.device()
        _ = try PasswordChange(device, name: "test").run(.change(new: new), password: old)
        let store = try #require(try HeaderStore(device))
        #expect(store.headers.count > 1)
        for header in store.headers {
            var options = OpenOptions()
            options.readOnly = true
            options.generation = header.generation
            options.password = old
            #expect(throws: ToolFailure.self) { _ = try ImageVolume(device, name: "test", options: options) }
        }
    }

    @Test func plainFileSystemsHaveNone() throws {
        let device = try GoldenImage.empty.device()
        #expect(throws: ToolFailure.self) {
            _ = try PasswordChange(device, name: "test").run(.add(new: new), password: old)
        }
    }
}

@Suite struct LocatorTests {
    @Test func referencesAreTakenApart() throws {
        let directory = try TemporaryDirectory()
        #expect(ImageReference("disk.img#2").partition == 2)
        #expect(ImageReference("disk.img#2").path == "disk.img")
        for text in ["disk.img", "disk.img#", "disk.img#x", "disk.img#0", "disk.img#-1", "#3"] {
            #expect(ImageReference(text).partition == nil && ImageReference(text).path == text, "\(text)")
        }
        let odd = directory.file("odd#1")
        try FileDevice(creating: odd, byteCount: 4096).flush()
        #expect(ImageReference(odd).partition == nil)
    }

    /// A disk with the golden image in partition 2, and if wanted in partition 3, too.
    private func makeDisk(_ path: String, isTwice: Bool = false) throws {
        let image = try GoldenImage.smallTree.bytes()
        do {
            let file = try FileDevice(creating: path, byteCount: 40 << 20)
            try file.writeBytes(at: 2 << 20, image)
            // An MBR with a small partition in front and the file system in the second.
            if isTwice { try file.writeBytes(at: 20 << 20, image) }
            var record = [UInt8](repeating: 0, count: 512)
            func put(_ entry: Int, _ type: UInt8, _ first: UInt32, _ count: UInt32) {
                let start = 446 + entry * 16
                record[start + 4] = type
                for byte in 0..<4 {
                    record[start + 8 + byte] = UInt8(truncatingIfNeeded: first >> UInt32(byte * 8))
                    record[start + 12 + byte] = UInt8(truncatingIfNeeded: count >> UInt32(byte * 8))
                }
            }
            put(0, 0x0C, 64, 64)
            put(1, 0x83, 4096, 32768)
            if isTwice { put(2, 0x83, 40960, 32768) }
            record[510] = 0x55
            record[511] = 0xAA
            try file.writeBytes(at: 0, record)
        }
    }

    @Test func oneOfSeveralIsNamedToBeWritten() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("disk")
        try makeDisk(path, isTwice: true)
        #expect(try ImageLocator.open(ImageReference(path), writable: false).partition?.number == 2)
        let failure = #expect(throws: ToolFailure.self) {
            _ = try ImageLocator.open(ImageReference(path), writable: true)
        }
        #expect(failure?.advice?.contains("#2") == true && failure?.advice?.contains("#3") == true)
        #expect(try ImageLocator.open(ImageReference(path + "#3"), writable: true).partition?.number == 3)
    }

    @Test func fileSystemInAPartitionIsFound() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("disk")
        try makeDisk(path)
        for reference in [path, path + "#2"] {
            let opened = try ImageLocator.open(ImageReference(reference), writable: false)
            #expect(opened.partition?.number == 2)
            #expect(try listing(opened.device).count == 418)
        }
        let missing = #expect(throws: ToolFailure.self) {
            _ = try ImageLocator.open(ImageReference(path + "#4"), writable: false)
        }
        #expect(missing?.advice?.contains("#2") == true)
        let link = directory.file("link")
        try SystemCall.makeSymbolicLinkAt(AT_FDCWD, Array(link.utf8), target: Array(path.utf8))
        #expect(ImageLocator.isOneFile(ImageReference(path + "#1"), ImageReference(link)))
        #expect(!ImageLocator.isOneFile(ImageReference(path), ImageReference(directory.file("none"))))
        let other = try ImageLocator.open(
            ImageReference(path + "#1"), writable: false, mustHoldFileSystem: false)
        #expect(other.device.byteCount == 32768)
    }
}

@Suite struct SizeTests {
    @Test func sizesAreRead() {
        let sizes: [(String, UInt64)] = [
            ("0", 0), ("4096", 4096), ("1k", 1024), ("512M", 512 << 20), ("4GiB", 4 << 30), ("2T", 2 << 40),
            ("3KB", 3072),
        ]
        for (text, size) in sizes { #expect(ByteCount.parse(text) == size, "\(text)") }
        for text in ["", "M", "-1", "1.5G", "1Q", "99999999999999999999", "99999999P", "1 M", "B"] {
            #expect(ByteCount.parse(text) == nil, "\(text)")
        }
        #expect(ByteCount.display(1536) == "1.5 KiB")
        #expect(ByteCount.display(.max) == "16383 PiB")
    }
}
