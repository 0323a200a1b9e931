import BlockDevice
import DiskFormat
import FileSystemCheck
import Platform
import RedoxFS
import TestSupport
import Testing

/// The power goes at every write: of what was not flushed any subset is on the disk, in any order, torn at sectors.
/// The image must open without repair, check without fault, and hold exactly what one of the commits held: the newest
/// that was acknowledged, or the one that was under way.
@Suite struct PowerLossTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var name: String
        var seed: UInt64
        var steps: Int
        var mix: Mix
        var isEncrypted = false
        var testDescription: String { "\(name), seed \(seed)" }
    }

    static let cases: [Case] = {
        var small = Mix()
        small.fileSize = 20_000
        small.writeSize = 6000
        small.names = 12
        small.commitEvery = 5
        small.reopenEvery = 60
        small.farEvery = 0
        var large = small
        large.fileSize = 400_000
        large.writeSize = 150_000
        large.farEvery = 20
        var crowded = small
        crowded.names = 400
        crowded.commitEvery = 12
        var list = [
            Case(name: "records", seed: seed(21), steps: 300, mix: large),
            Case(name: "directories", seed: seed(22), steps: 900, mix: crowded),
            Case(name: "encrypted", seed: seed(23), steps: 200, mix: small, isEncrypted: true),
        ]
        for number in 0..<UInt64(6) {
            list.append(Case(name: "all kinds", seed: seed(30 + number), steps: 400, mix: small))
        }
        return list
    }()

    /// Over 100,000 states in the normal run; SALTBRIDGE_STATES sets the number per case for a longer one.
    static let statesPerCase = amount("SALTBRIDGE_STATES", normal: 11_200)
    /// States of a point with one unflushed write: all of it lost, all kept, others torn.
    static let statesOfLoneWrite = 8

    /// What the disk had been told when a commit was acknowledged.
    struct Acknowledged {
        var point: Int
        var generation: Generation
    }

    @Test(arguments: cases) func everyStateIsACommit(_ run: Case) throws {
        let device = SimulatedDevice(byteCount: 4 << 20, seed: run.seed)
        let (count, checks) = try examine(device, try Played(run, on: device, recordedBy: device), run)
        #expect(count >= Self.statesPerCase)
        print("power loss: \(run.testDescription): \(count) states, \(checks) that differ where a check looks")
    }

    /// The control: with flushes that do nothing, losses of power do harm, and that is noticed.
    @Test func missingFlushesAreNoticed() throws {
        var run = Self.cases[0]
        run.steps = 60
        let device = SimulatedDevice(byteCount: 4 << 20, seed: run.seed)
        let played = try Played(run, on: UnflushedDevice(device), recordedBy: device)
        withKnownIssue { _ = try examine(device, played, run) }
    }

    /// Random operations on a disk, with what each commit held.
    private struct Played {
        var models: [Generation: Model] = [:]
        var acknowledged: [Acknowledged] = []
        var options: OpenOptions
        let start: Int

        init(_ run: Case, on device: any BlockDevice, recordedBy recorder: SimulatedDevice) throws {
            options = openOptions(encrypted: run.isEncrypted)
            options.threads = 0
            try FileSystem.format(recorder, formatOptions(encrypted: run.isEncrypted))
            start = recorder.recordedCount
            var models: [Generation: Model] = [:]
            var acknowledged: [Acknowledged] = []
            var driver = try Driver(device: device, options: options, format: nil)
            func note(_ driver: borrowing Driver) {
                let generation = driver.generation
                models[generation] = driver.model.settled
                acknowledged.append(Acknowledged(point: recorder.recordedCount, generation: generation))
            }
            note(driver)
            driver.afterCommit = { note($0) }
            driver.afterReopen = { note($0) }
            driver.commitsBeforeClose = true
            var source = OperationSource(seed: run.seed, mix: run.mix)
            for _ in 0..<run.steps { try driver.apply(source.next(driver.model)) }
            try driver.commitNow()
            self.models = models
            self.acknowledged = acknowledged
        }
    }

    /// Goes through the states after each write; returns how many there were, and how many checks they took.
    private func examine(
        _ device: SimulatedDevice, _ played: Played, _ run: Case
    ) throws -> (states: Int, checks: Int) {
        var states = device.crashStates()
        let points = played.start...states.lastPoint
        let writes = try points.map { try states.unflushedWrites(at: $0).count }
        // A lone write, a header's, has few states, and each is another disk to a check; all others share the rest.
        let lone = writes.count { $0 == 1 } * Self.statesOfLoneWrite
        let perPoint = (max(0, Self.statesPerCase - lone) / max(1, writes.count { $0 > 1 })) + 1
        var checked = CheckedStates<Generation>()
        var count = 0
        for (point, unflushed) in zip(points, writes) {
            let durable = played.acknowledged.last { $0.point <= point }?.generation
            let choices = unflushed == 0 ? 1 : unflushed == 1 ? Self.statesOfLoneWrite : perPoint
            for number in 0..<choices {
                let state = try states.state(at: point, seed: UInt64(number))
                do {
                    let found = try checked.result(of: state) {
                        try check($0, played.options, played.models, run.isEncrypted)
                    }
                    if let durable, found < durable {
                        throw Disagreement(description: "generation \(durable) was acknowledged, found \(found)")
                    }
                } catch {
                    Issue.record("seed \(run.seed), point \(point) of \(points), state \(number): \(error)")
                    return (count, checked.checkCount)
                }
                count += 1
            }
        }
        return (count, checked.checkCount)
    }

    /// Checks a disk and compares it with the model of the generation that it holds, which is returned.
    private func check(
        _ device: any BlockDevice, _ options: OpenOptions, _ models: [Generation: Model], _ isEncrypted: Bool
    ) throws -> Generation {
        // A torn header is what the loss of power left; the one before counts.
        let report = try checkImage(device, encrypted: isEncrypted, allowing: .benign)
        // A close makes generations of its own (it rewrites the log) whose content is that of the commit before.
        guard let model = models.filter({ $0.key <= report.generation }).max(by: { $0.key < $1.key })?.value else {
            throw Disagreement(description: "no commit has generation \(report.generation)")
        }
        var readOnly = options
        readOnly.readOnly = true
        let fileSystem = try FileSystem(opening: device, options: readOnly)
        try compareTree(fileSystem, model)
        return report.generation
    }
}

/// A disk that doesn't keep what was flushed.
private final class UnflushedDevice: BlockDevice {
    private let base: SimulatedDevice
    let isWritable = true

    init(_ base: SimulatedDevice) { self.base = base }

    var byteCount: UInt64 { base.byteCount }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        try base.read(at: offset, into: &buffer)
    }

    func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        try base.write(at: offset, buffers)
    }

    func flush() throws(BlockDeviceError) {}
}
