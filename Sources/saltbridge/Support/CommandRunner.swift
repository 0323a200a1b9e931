import ArgumentParser
import Glibc
import ImageTools

/// Ends a command with an exit code; what there was to say has been said.
struct CommandExit: Error {
    let code: Int32
}

/// Runs commands: errors become messages on standard error and exit codes.
///
/// 0 is success, 1 a failure, 2 a wrong command line, 130 an interruption. fsck has the codes of fsck(8): 8 is a failure, 16 a
/// wrong command line.
enum CommandRunner {
    static func run(_ root: any ParsableCommand.Type, _ arguments: [String]) -> Int32 {
        raiseDescriptorLimit()
        do {
            var command = try root.parseAsRoot(arguments)
            try command.run()
            return flush(arguments) ?? 0
        } catch let exit as CommandExit {
            return flush(arguments) ?? exit.code
        } catch let failure as ToolFailure {
            _ = flush(arguments)
            Console.report(failure)
            return failureCode(arguments)
        } catch {
            let message = root.fullMessage(for: error)
            if root.exitCode(for: error) == .success {
                Console.print(message)
                return flush(arguments) ?? 0
            }
            Console.printError(message)
            return arguments.first == "fsck" ? 16 : 2
        }
    }

    /// Passes on what there is to print; the exit code if that can't be done, whatever the command came to.
    private static func flush(_ arguments: [String]) -> Int32? {
        do throws(ToolFailure) {
            try Console.flush()
            return nil
        } catch {
            Console.report(error)
            return failureCode(arguments)
        }
    }

    private static func failureCode(_ arguments: [String]) -> Int32 { arguments.first == "fsck" ? 8 : 1 }

    /// Trees may be deep, and each directory on the way stays open.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
