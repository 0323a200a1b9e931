import Glibc
import ImageTools
import Platform
import SystemPackage

/// Where the programs are that a mount consists of: beside this one, or installed under `libexec`.
enum ProgramLocator {
    /// This program.
    static var own: String { (try? SystemCall.readLink("/proc/self/exe")) ?? "saltbridge" }

    private static var folders: [String] {
        let own = own
        guard let slash = own.lastIndex(of: "/") else {
            return []
        }
        let folder = String(own[..<slash])
        return [folder, "\(folder)/../libexec/saltbridge"]
    }

    /// The path of a program, nil if it isn't installed.
    static func find(_ name: String) -> String? {
        folders.map { "\($0)/\(name)" }.first { SystemCall.exists($0) }
    }

    /// The path of a program that must be there.
    static func require(_ name: String) throws(ToolFailure) -> String {
        guard let path = find(name) else {
            throw ToolFailure(
                "the program \(name) is missing", advice: "Looked in: \(folders.joined(separator: ", "))")
        }
        return path
    }
}
