import ArgumentParser
import Glibc
import ImageTools
import Platform
import SystemPackage

/// Where passwords come from: a file, or the terminal. Never the command line, where others can read them.
enum Passwords {
    private static let limit = 1 << 16

    /// Makes sure that standard input isn't to be two passwords: the first would take all of it.
    static func checkFiles(_ file: String?, _ newFile: String?) throws {
        if isStandardInput(file), isStandardInput(newFile) {
            throw ValidationError("the two passwords can't both come from standard input: put one into a file")
        }
    }

    static func isStandardInput(_ path: String?) -> Bool {
        ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"].contains(path)
    }

    /// A password that opens something.
    ///
    /// - Parameter file: the value of --password-file; nil to ask on the terminal.
    static func existing(file: String?, for name: String) throws(ToolFailure) -> [UInt8] {
        if let file { return try read(file) }
        return try ask("Password for \(name): ")
    }

    /// A new password: asked for twice.
    static func new(file: String?, for name: String) throws(ToolFailure) -> [UInt8] {
        if let file { return try read(file) }
        let first = try ask("New password for \(name): ")
        if first.isEmpty { throw ToolFailure("an empty password protects nothing") }
        let second = try ask("The same again: ")
        if first != second { throw ToolFailure("the two passwords differ") }
        return first
    }

    /// The first line of a file; /dev/stdin is one, too.
    private static func read(_ path: String) throws(ToolFailure) -> [UInt8] {
        let content: [UInt8]
        do {
            let file = try SystemCall.open(path, O_RDONLY)
            content = try SystemCall.readToEnd(file.rawValue, limit: limit)
        } catch {
            throw ToolFailure("cannot read the password file \(path): \(error)")
        }
        let line = Array(content.prefix { $0 != 0x0A && $0 != 0x0D })
        if line.isEmpty { throw ToolFailure("the password file \(path) begins with an empty line") }
        return line
    }

    private static func ask(_ prompt: String) throws(ToolFailure) -> [UInt8] {
        do {
            switch try Terminal.readSecret(prompt: prompt) {
            case .text(let password): return password
            case .interrupted:
                // The terminal is as it was; now the program ends as Ctrl-C ends any other.
                _ = Glibc.raise(SIGINT)
                throw ToolFailure("no password was given")
            case .ended: throw ToolFailure("no password was given")
            }
        } catch let failure as ToolFailure {
            throw failure
        } catch {
            throw ToolFailure(
                "a password is needed, and there is no terminal to ask on", advice: "Use --password-file FILE.")
        }
    }
}
