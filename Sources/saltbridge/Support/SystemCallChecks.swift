import Glibc
import Platform

/// What the command line wants to know of its surroundings.
enum SystemCallChecks {
    static var standardOutputIsTerminal: Bool { SystemCall.isTerminal(STDOUT_FILENO) }
}
