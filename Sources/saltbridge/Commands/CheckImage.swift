import ArgumentParser
import DiskFormat
import FileSystemCheck
import ImageTools
import Platform

struct CheckImage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fsck",
        abstract: "Check a file system, and repair it.",
        discussion: """
            Every rule of the format is checked. A finding is benign, a leak (space that can't be used until a repair), an \
            inconsistency or a corruption. Benign are habits of Redox that do no harm. A repair is a new generation that leaves the present one \
            readable: `saltbridge rollback` undoes it. If metadata of the newest generation is lost, the newest one that is \
            whole takes its place, unless --in-place is given. What has no name any more gets one in /lost+found.

            Exit code, as fsck(8) has it: 0 nothing was found, or only what is benign; 1 something was repaired, and \
            nothing is left; 4 something is left that should be repaired, a leak too; 8 the check or the repair could not be \
            made; 16 the command line is wrong.
            """)

    @OptionGroup var image: ImageOptions

    @Flag(name: .customLong("repair"), help: "Repair what is found.")
    var wantsRepair = false

    @Flag(name: .customShort("y"), help: "The same as --repair.")
    var answersYes = false

    @Flag(
        name: [.customShort("p"), .customShort("a")],
        help: "Repair unless content is lost or in danger; then only report.")
    var repairsSafely = false

    @Flag(name: .customShort("n"), help: "Change nothing. This is the default.")
    var answersNo = false

    @Flag(name: .customShort("f"), help: "Accepted and ignored: every check is a full one.")
    var isForced = false

    @Flag(help: "Keep the newest generation and save what is left of it.")
    var inPlace = false

    @Flag(help: "Read and hash the content of all files, too.")
    var verifyData = false

    @Option(help: "Check this older generation (see history). With --repair it becomes the newest.")
    var generation: UInt64?

    @Flag(help: "Print every finding instead of the first ones of each kind.")
    var all = false

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if answersNo, wantsRepair || answersYes || repairsSafely {
            throw ValidationError("-n contradicts an option that repairs")
        }
    }

    func run() throws {
        let code: Int32
        do {
            code = try check()
        } catch let failure as ToolFailure {
            Console.report(failure)
            code = 8
        }
        if code != 0 { throw CommandExit(code: code) }
    }

    private func check() throws -> Int32 {
        let mayRepair = wantsRepair || answersYes || repairsSafely
        let image = try image.locate(writable: mayRepair)
        let progress = CheckProgressLine()
        let options = CheckOptions(
            generation: generation.map { Generation($0) }, password: try self.image.password.password(for: image),
            verifyData: verifyData, progress: { progress.show($0) })
        defer { progress.finish() }
        do throws(CheckError) {
            if mayRepair {
                let first = try repairsSafely ? FileSystemCheck.check(image.device, options) : nil
                if let first, first.severity == .corruption {
                    return show(first, nil, image.name, isUnsafe: true)
                }
                let report = try FileSystemCheck.repair(
                    image.device, options, RepairOptions(fallsBack: !inPlace, time: CurrentTime.now()))
                return show(report.before, report, image.name)
            }
            return show(try FileSystemCheck.check(image.device, options), nil, image.name)
        } catch {
            throw ToolFailure("\(image.name): \(error)")
        }
    }

    /// Prints what was found and done; returns the exit code.
    private func show(
        _ report: CheckReport, _ repair: RepairReport?, _ name: String, isUnsafe: Bool = false
    ) -> Int32 {
        let code: Int32
        if let repair {
            code = repair.after.needsRepair ? 4 : repair.generation != nil ? 1 : 0
        } else {
            code = report.needsRepair ? 4 : 0
        }
        if output.json {
            Console.print(CheckOutput.json(report, repair))
            return code
        }
        for line in CheckOutput.lines(report, repair, name, showsAll: all) {
            Console.print(line)
        }
        if let repair, repair.generation != nil, !verifyData, repair.source == repair.before.generation {
            Console.print("\(name): the content of files was not read (--verify-data)")
        }
        if isUnsafe {
            Console.print("\(name): content is lost or in danger; run fsck with --repair")
        }
        return code
    }
}

/// Progress of a check, told from any of its threads.
final class CheckProgressLine: Sendable {
    private let line: Locked<Progress>

    /// - Parameter label: what is being done.
    init(_ label: String = "checking") {
        line = Locked(Progress(label))
    }

    func show(_ progress: CheckProgress) {
        line.withLock { line in
            switch progress.phase {
            case .data: line.update(done: 0, total: 0, "\(ByteCount.display(progress.done)) of content")
            case .allocationLog: line.update(done: progress.done, total: progress.total, "blocks of the allocation log")
            case .nodes: line.update(done: progress.done, total: progress.total, "nodes")
            case .directories: line.update(done: progress.done, total: progress.total, "directories")
            case .blocks: line.update(done: progress.done, total: 0, "blocks and records")
            case .repair: line.update(done: progress.done, total: 0, "rounds of repair")
            }
        }
    }

    func finish() { line.withLock { $0.finish() } }
}
