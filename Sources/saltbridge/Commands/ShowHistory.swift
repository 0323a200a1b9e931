import ArgumentParser
import DiskFormat
import FileSystemCheck
import ImageTools

struct ShowHistory: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "List the generations that can still be read, or what changed between two.",
        discussion: """
            The headers of the last 256 commits are kept; what they reach is overwritten bit by bit. A generation that is \
            whole can be read with --generation and restored with rollback. Content that a generation shares with the newest \
            one is taken to be good unless --verify-data is given.
            """)

    @OptionGroup var image: ImageOptions

    @Option(help: "Show what changed from this generation on.")
    var from: UInt64?

    @Option(help: "Show what changed up to this generation; the newest by default.")
    var to: UInt64?

    @Flag(help: "Read and hash the content of all files, too.")
    var verifyData = false

    @Flag(help: "List generations that can't be read in full, too.")
    var all = false

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if to != nil, from == nil { throw ValidationError("--to needs --from") }
    }

    func run() throws {
        let image = try image.locate(writable: false)
        let progress = CheckProgressLine()
        let options = CheckOptions(
            password: try self.image.password.password(for: image), verifyData: verifyData,
            progress: { progress.show($0) })
        defer { progress.finish() }
        do throws(CheckError) {
            let generations = try FileSystemCheck.history(image.device, options)
            progress.finish()
            if let from {
                let newest = generations.first?.generation.rawValue ?? from
                let changes = try FileSystemCheck.changes(
                    image.device, from: Generation(from), to: Generation(to ?? newest), options)
                show(changes)
            } else {
                show(generations.filter { all || $0.isWhole })
            }
        } catch {
            throw ToolFailure("\(image.name): \(error)")
        }
    }

    private func show(_ changes: [PathChange]) {
        if output.json {
            Console.print(.array(changes.map(CheckOutput.json)))
            return
        }
        for change in changes {
            Console.print("\(change.kind.rawValue) \(change.path)")
        }
    }

    private func show(_ generations: [GenerationSummary]) {
        if output.json {
            Console.print(.array(generations.map(Self.json)))
            return
        }
        for generation in generations {
            let time = generation.time.map { " \(UniversalTime.text($0))" } ?? ""
            let state = generation.isWhole ? "whole" : generation.hasWholeMetadata ? "content lost" : "metadata lost"
            Console.print(
                "\(generation.generation)\(time) \(state), "
                    + "\(generation.ownBlocks) block\(generation.ownBlocks == 1 ? "" : "s") of its own")
        }
    }

    private static func json(_ generation: GenerationSummary) -> JSONValue {
        .object([
            ("generation", .unsigned(generation.generation.rawValue)),
            ("time", generation.time.map { .string(UniversalTime.text($0)) } ?? .null),
            ("sequence", generation.sequence.map { .unsigned($0) } ?? .null),
            ("whole", .bool(generation.isWhole)), ("whole_metadata", .bool(generation.hasWholeMetadata)),
            ("own_blocks", .unsigned(generation.ownBlocks)),
        ])
    }
}

/// Times as ISO 8601 in UTC, whatever the locale.
enum UniversalTime {
    static func text(_ time: Timespec) -> String {
        let day = Int64(86_400)
        let days = time.seconds >= 0 ? time.seconds / day : (time.seconds - day + 1) / day
        let rest = time.seconds - days * day
        let (year, month, monthDay) = date(daysSince1970: days)
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(two(month))-\(two(monthDay))T\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))Z"
    }

    /// The date in the Gregorian calendar. Years begin in March here, so that the leap day is the last one.
    private static func date(daysSince1970: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let era400 = Int64(146_097)
        let shifted = daysSince1970 + 719_468
        let era = (shifted >= 0 ? shifted : shifted - era400 + 1) / era400
        let dayOfEra = shifted - era * era400
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
}
