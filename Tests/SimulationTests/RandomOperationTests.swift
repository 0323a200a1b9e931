import BlockDevice
import DiskFormat
import FileSystemCheck
import RedoxFS
import TestSupport
import Testing

/// Random operations of every kind against the model. After every commit the image is checked by the independent
/// checker, opened a second time and compared with the model in full.
@Suite struct RandomOperationTests {
    struct Run: CustomTestStringConvertible, Sendable {
        var name: String
        var seed: UInt64
        var megabytes: UInt64
        var steps: Int
        var mix = Mix()
        var isEncrypted = false
        /// `OpenOptions.departedStay`.
        var stay: UInt64 = 0
        var testDescription: String { "\(name), seed \(seed)" }
    }

    // 100,000 steps altogether; SALTBRIDGE_STEPS multiplies.
    static let runs: [Run] = {
        let times = amount("SALTBRIDGE_STEPS", normal: 1)
        var small = Mix()
        small.fileSize = 9000
        small.writeSize = 3000
        small.names = 200
        small.farEvery = 0
        var crowded = small
        crowded.names = 2000
        crowded.commitEvery = 200
        return [
            Run(name: "large disk", seed: seed(1), megabytes: 256, steps: 20_000 * times),
            Run(name: "small disk, often full", seed: seed(2), megabytes: 6, steps: 20_000 * times, stay: 128),
            Run(
                name: "tiny disk, nearly always full", seed: seed(3), megabytes: 2, steps: 10_000 * times, mix: small,
                stay: 20),
            Run(name: "many small files", seed: seed(4), megabytes: 64, steps: 25_000 * times, mix: crowded, stay: 128),
            Run(name: "small files", seed: seed(5), megabytes: 16, steps: 15_000 * times, mix: small),
            Run(name: "encrypted", seed: seed(6), megabytes: 64, steps: 10_000 * times, isEncrypted: true),
        ]
    }()

    @Test(arguments: runs) func engineAndModelAgree(_ run: Run) throws {
        print("random operations: \(run.testDescription), \(run.steps) steps")
        let device = MemoryDevice(byteCount: Int(run.megabytes << 20))
        var options = openOptions(encrypted: run.isEncrypted)
        options.departedStay = run.stay
        var driver = try Driver(
            device: device, options: options, format: formatOptions(encrypted: run.isEncrypted))
        driver.afterCommit = { driver in
            try checkImage(device, encrypted: run.isEncrypted)
            var options = openOptions(encrypted: run.isEncrypted)
            options.readOnly = true
            let second = try FileSystem(opening: device, options: options)
            try compareTree(second, driver.model.settled)
        }
        var source = OperationSource(seed: run.seed, mix: run.mix)
        for _ in 0..<run.steps { try driver.apply(source.next(driver.model)) }
        try driver.finish()
        try checkImage(device, encrypted: run.isEncrypted)
        if run.megabytes <= 6 { #expect(driver.outOfSpace > 0, "the disk was meant to be full at times") }
    }

    /// Threads, timing and cache sizes must not show in the image: the same requests give the same bytes.
    @Test(arguments: [11, 12, 13] as [UInt64]) func sameRequestsGiveSameBytes(_ number: UInt64) throws {
        func image(threads: Int, cacheBytes: Int) throws -> MemoryDevice {
            let device = MemoryDevice(byteCount: 48 << 20)
            var options = openOptions()
            options.threads = threads
            options.cacheBytes = cacheBytes
            options.departedStay = 128
            // So small that the engine commits by itself in between.
            options.dirtyBytes = 2 << 20
            var driver = try Driver(device: device, options: options, format: formatOptions())
            var source = OperationSource(seed: number, mix: Mix())
            for _ in 0..<1500 { try driver.apply(source.next(driver.model)) }
            try driver.finish()
            return device
        }
        let one = try image(threads: 1, cacheBytes: 64 << 20)
        let other = try image(threads: 3, cacheBytes: 1 << 20)
        var different = 0
        for offset in stride(from: UInt64(0), to: one.byteCount, by: 1 << 20) {
            if try one.readBytes(at: offset, count: 1 << 20) != other.readBytes(at: offset, count: 1 << 20) {
                different += 1
            }
        }
        #expect(different == 0, "seed \(number): the images differ")
    }
}
