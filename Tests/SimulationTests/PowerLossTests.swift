import BlockDevice
import DiskFormat
import FileSystemCheck
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

    /// What the disk had been told when a commit was acknowledged.
    struct Acknowledged {
        var point: Int
        var generation: Generation
    }

    @Test(arguments: cases) func everyStateIsACommit(_ run: Case) throws {
        let device = SimulatedDevice(byteCount: 4 << 20, seed: run.seed)
        var options = openOptions(encrypted: run.isEncrypted)
        options.threads = 0
        try FileSystem.format(device, formatOptions(encrypted: run.isEncrypted))
        var models: [Generation: Model] = [:]
        var acknowledged: [Acknowledged] = []
        let start = device.recordedCount
        var driver = try Driver(device: device, options: options, format: nil)
        func note(_ driver: borrowing Driver) {
            let generation = driver.generation
            models[generation] = driver.model.settled
            acknowledged.append(Acknowledged(point: device.recordedCount, generation: generation))
        }
        note(driver)
        driver.afterCommit = { note($0) }
        driver.afterReopen = { note($0) }
        driver.commitsBeforeClose = true
        var source = OperationSource(seed: run.seed, mix: run.mix)
        for _ in 0..<run.steps { try driver.apply(source.next(driver.model)) }
        try driver.commitNow()

        var states = device.crashStates()
        let points = start...states.lastPoint
        let perPoint = max(3, Self.statesPerCase / points.count)
        var count = 0
        for point in points {
            let durable = acknowledged.last { $0.point <= point }?.generation
            let choices = try states.unflushedWrites(at: point).isEmpty ? 1 : perPoint
            for number in 0..<choices {
                let state = try states.state(at: point, seed: UInt64(number))
                do {
                    try check(state.device, options, models, durable, run.isEncrypted)
                } catch {
                    Issue.record("seed \(run.seed), point \(point) of \(points), state \(number): \(error)")
                    return
                }
                count += 1
            }
        }
        print("power loss: \(run.testDescription): \(count) states at \(points.count) points")
    }

    private func check(
        _ device: any BlockDevice, _ options: OpenOptions, _ models: [Generation: Model], _ durable: Generation?,
        _ isEncrypted: Bool
    ) throws {
        // A torn header is what the loss of power left; the one before counts.
        let report = try checkImage(device, encrypted: isEncrypted, allowing: .benign)
        if let durable, report.generation < durable {
            throw Disagreement(description: "generation \(durable) was acknowledged, found \(report.generation)")
        }
        // A close makes generations of its own (it rewrites the log) whose content is that of the commit before.
        guard let model = models.filter({ $0.key <= report.generation }).max(by: { $0.key < $1.key })?.value else {
            throw Disagreement(description: "no commit has generation \(report.generation)")
        }
        var readOnly = options
        readOnly.readOnly = true
        let fileSystem = try FileSystem(opening: device, options: readOnly)
        try compareTree(fileSystem, model)
    }
}
