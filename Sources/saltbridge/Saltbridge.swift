import ArgumentParser
import Glibc

@main
struct Saltbridge: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "saltbridge",
        abstract: "Mount, inspect, check and repair Redox file systems.",
        discussion: """
            An IMAGE is a file, a block device, or a partition of one: disk.img, /dev/sdb, disk.img#2. In an image with \
            partitions (GPT or MBR) the RedoxFS is found by itself; of several the one to be written must be named.
            """,
        version: "1.0.0",
        groupedSubcommands: [
            CommandGroup(
                name: "Mounting:",
                subcommands: [
                    MountImage.self, UnmountImage.self, ViewDisplay.self, ShowStatus.self, CrashScheme.self,
                    RestartScheme.self, UpgradeMount.self, SetFault.self, TraceRequests.self, CheckHost.self,
                    ReportBug.self,
                ]),
            CommandGroup(
                name: "Making and changing images:",
                subcommands: [
                    MakeFileSystem.self, CloneImage.self, ResizeImage.self, ChangePasswords.self, RollBack.self,
                ]),
            CommandGroup(
                name: "Checking and looking inside:",
                subcommands: [CheckImage.self, InspectImage.self, ShowHistory.self]),
            CommandGroup(
                name: "Files in an image:",
                subcommands: [
                    ListFiles.self, PrintFiles.self, ImportFiles.self, ExportFiles.self, MakeDirectories.self,
                    MoveFile.self, RemoveFiles.self, PrintManifest.self,
                ]),
        ])

    /// The position of the first argument that isn't UTF-8: its text would name something else.
    private static func firstBrokenArgument() -> Int? {
        let arguments = unsafe CommandLine.unsafeArgv
        return (1..<max(1, Int(CommandLine.argc))).first { position in
            guard let argument = unsafe arguments[position] else { return false }
            return unsafe String(validatingCString: argument) == nil
        }
    }

    /// Runs the command that the arguments name, and ends with its exit code.
    static func main() {
        if let position = firstBrokenArgument() {
            Console.printError("saltbridge: argument \(position) is not UTF-8; names in a RedoxFS are")
            Glibc.exit(CommandLine.arguments.dropFirst().first == "fsck" ? 16 : 2)
        }
        if let code = MountHelper.run(CommandLine.arguments) { Glibc.exit(code) }
        Glibc.exit(CommandRunner.run(Saltbridge.self, Array(CommandLine.arguments.dropFirst())))
    }
}
