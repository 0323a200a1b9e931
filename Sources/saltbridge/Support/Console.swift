import Glibc
import ImageTools
import Platform

/// Standard output and standard error. Output is buffered until `flush`; messages are not.
///
/// Used by the command's thread alone.
enum Console {
    nonisolated(unsafe) private static var pending: [UInt8] = []
    nonisolated(unsafe) private static var isBegun = false
    /// Why something could not be passed on, until `flush` has said it.
    nonisolated(unsafe) private static var failure: ToolFailure?
    private static let limit = 1 << 16

    /// Whether results are to be JSON: then messages are, too.
    static var printsJSON: Bool { CommandLine.arguments.dropFirst().contains("--json") }

    /// A line on standard output.
    static func print(_ line: String) {
        write(Array(line.utf8) + [0x0A])
    }

    /// A value as one line on standard output.
    static func print(_ value: JSONValue) {
        print(value.text)
    }

    /// Bytes on standard output. An error shows at `flush`.
    static func write(_ bytes: [UInt8]) {
        unsafe pending += bytes
        guard unsafe pending.count >= limit else { return }
        do throws(ToolFailure) { try flush() } catch { unsafe failure = error }
    }

    /// Forgets what is buffered, so that a command can begin again; false if something was passed on already.
    static func discardPending() -> Bool {
        unsafe pending = []
        return unsafe !isBegun
    }

    /// Passes on what is buffered.
    static func flush() throws(ToolFailure) {
        let bytes = unsafe pending
        unsafe pending = []
        if let old = unsafe failure {
            unsafe failure = nil
            throw old
        }
        if !bytes.isEmpty { unsafe isBegun = true }
        do {
            try unsafe SystemCall.writeAll(STDOUT_FILENO, bytes.span.bytes)
        } catch {
            throw ToolFailure("cannot write to standard output: \(error)")
        }
    }

    /// A line on standard error.
    static func printError(_ line: String) {
        let bytes = Array(line.utf8) + [0x0A]
        try? unsafe SystemCall.writeAll(STDERR_FILENO, bytes.span.bytes)
    }

    /// A failure: two lines for a person, or an object with "error" and "advice".
    static func report(_ failure: ToolFailure) {
        if printsJSON {
            var members: [(String, JSONValue)] = [("error", .string(failure.message))]
            if let advice = failure.advice { members.append(("advice", .string(advice))) }
            printError(JSONValue.object(members).text)
        } else {
            printError("saltbridge: \(failure)")
        }
    }

    /// Something that went on in spite of a fault.
    static func warn(_ message: String) {
        if printsJSON {
            printError(JSONValue.object([("warning", .string(message))]).text)
        } else {
            printError("saltbridge: warning: \(message)")
        }
    }
}
