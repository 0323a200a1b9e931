import ArgumentParser
import DiskFormat
import FileSystemCheck
import ImageTools

struct RollBack: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Make the content of an older generation the current one.",
        discussion: """
            The generation is checked in full first: blocks that it needs may have been used again. The result is a new \
            generation, so this can be undone the same way. `saltbridge history` lists the generations.
            """)

    @OptionGroup var image: ImageOptions

    @Argument(help: "The number of the generation.")
    var generation: UInt64

    @OptionGroup var output: OutputOptions

    func run() throws {
        let image = try image.locate(writable: true)
        var options = CheckOptions()
        options.password = try self.image.password.password(for: image)
        let progress = CheckProgressLine()
        options.progress = { progress.show($0) }
        defer { progress.finish() }
        let report: RepairReport
        do throws(CheckError) {
            report = try FileSystemCheck.rollBack(
                image.device, to: Generation(generation), options, time: CurrentTime.now())
        } catch {
            throw ToolFailure("\(image.name): \(error)")
        }
        let new = report.generation?.rawValue
        if output.json {
            Console.print(
                .object([
                    ("from", .unsigned(generation)), ("generation", new.map { .unsigned($0) } ?? .null),
                ]))
        } else {
            Console.print("\(image.name): generation \(new ?? generation) has the content of generation \(generation)")
        }
    }
}
