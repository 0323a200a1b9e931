import ArgumentParser
import Glibc
import ImageTools

/// Ends a command with an exit code; what there was to say has been said.
struct CommandExit: Error {
    let code: Int32
}

/// Runs commands: errors become messages on standard error and exit codes.
///
/// 0 is success, 1 a failure, 2 a wrong command line (16 for fsck, as fsck(8) has it), 130 an interruption.
enum CommandRunner {
    static func run(_ root: any ParsableCommand.Type, _ arguments: [String]) -> Int32 {
        raiseDescriptorLimit()
        do {
            var command = try root.parseAsRoot(arguments)
            try command.run()
            try Console.flush()
            return 0
        } catch let exit as CommandExit {
            return (try? Console.flush()) == nil ? 1 : exit.code
        } catch let failure as ToolFailure {
            try? Console.flush()
            Console.report(failure)
            return 1
        } catch {
            let message = root.fullMessage(for: error)
            if root.exitCode(for: error) == .success {
                Console.print(message)
                return (try? Console.flush()) == nil ? 1 : 0
            }
            Console.printError(message)
            return arguments.first == "fsck" ? 16 : 2
        }
    }

    /// Trees may be deep, and each directory on the way stays open.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
