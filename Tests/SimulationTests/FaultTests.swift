import BlockDevice
import DiskFormat
import FileSystemCheck
import RedoxFS
import SystemPackage
import TestSupport
import Testing

/// The Nth access to the disk fails, for every N, once or for good. Every error is a typed one, what was committed
/// stays, and when the disk works again everything that was done and not refused is there.
@Suite struct FaultTests {
    private static func script(_ driver: inout Driver, _ tolerate: Bool) throws -> Int {
        var mix = Mix()
        mix.fileSize = 60_000
        mix.writeSize = 20_000
        mix.names = 12
        mix.commitEvery = 6
        mix.reopenEvery = 1 << 40
        mix.farEvery = 0
        var source = OperationSource(seed: 77, mix: mix)
        var refused = 0
        for _ in 0..<500 {
            let operation = source.next(driver.model)
            do {
                try driver.apply(operation)
            } catch let error as FileSystemError where tolerate {
                // The model was not changed: the next comparison fails if the engine did half of it.
                guard error.errno == .ioError else { throw error }
                refused += 1
            }
        }
        return refused
    }

    @Test(arguments: [SimulatedDevice.Failure.Duration.once, .permanent])
    func everyAccessFailsInTurn(_ duration: SimulatedDevice.Failure.Duration) throws {
        var number = 0
        var failed = true
        while failed {
            let device = SimulatedDevice(byteCount: 4 << 20, recordsWrites: false, seed: UInt64(number))
            var options = openOptions()
            options.threads = 0
            // So small a cache that reads reach the disk all the time.
            options.cacheBytes = 256 << 10
            var driver = try Driver(device: device, options: options, format: formatOptions())
            driver.toleratesFaults = true
            device.failure = .init(after: number, duration: duration)
            _ = try Self.script(&driver, true)
            failed = device.failuresSeen > 0
            // The disk is well again.
            device.failure = nil
            do {
                try driver.commitNow()
                try driver.compareNow()
                try checkImage(device)
                try driver.finish()
                try checkImage(device)
            } catch {
                Issue.record("access \(number) failed \(duration): \(error)")
                return
            }
            number += 1
        }
        print("faults: \(number) accesses failed in turn (\(duration))")
        #expect(number > 100)
    }

    /// What a disk that dies leaves behind must be one of the commits.
    @Test func whatADeadDiskHoldsIsACommit() throws {
        for number in 0..<200 {
            let device = SimulatedDevice(byteCount: 4 << 20, recordsWrites: false, seed: UInt64(number))
            var options = openOptions()
            options.threads = 0
            var driver = try Driver(device: device, options: options, format: formatOptions())
            driver.toleratesFaults = true
            var models = [driver.generation: driver.model.settled]
            device.failure = .init(after: number, duration: .permanent, operations: [.write, .flush])
            var acknowledged = driver.generation
            // The first commit that fails is sealed with what it had then; later ones wait for it.
            driver.beforeCommit = { driver in
                if !driver.hasFailedCommit { models[driver.generation.next] = driver.model.settled }
            }
            driver.afterCommit = { acknowledged = $0.generation }
            _ = try Self.script(&driver, true)
            device.failure = nil
            let left = device.currentContents()
            let report = try checkImage(left, allowing: .benign)
            #expect(report.generation >= acknowledged)
            var readOnly = options
            readOnly.readOnly = true
            let fileSystem = try FileSystem(opening: left, options: readOnly)
            guard let model = models[report.generation] else {
                Issue.record("failure at \(number): no commit has generation \(report.generation)")
                continue
            }
            do { try compareTree(fileSystem, model) } catch { Issue.record("failure at \(number): \(error)") }
        }
    }
}
