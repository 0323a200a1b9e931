import Glibc

/// One rule of POSIX or Linux that a mounted file system has to keep.
public struct PosixCheck: Sendable {
    /// What holds, in a few words: operation first.
    public let name: String
    /// Whether only root can try it.
    public let needsRoot: Bool
    /// Tries it in a folder of its own; throws if it doesn't hold.
    let body: @Sendable (Scratch) throws -> Void

    init(_ name: String, needsRoot: Bool = false, _ body: @escaping @Sendable (Scratch) throws -> Void) {
        self.name = name
        self.needsRoot = needsRoot
        self.body = body
    }

    /// All checks.
    public static let all: [PosixCheck] =
        nameChecks + directoryChecks + linkChecks + renameChecks + unlinkChecks + openChecks + contentChecks
        + allocationChecks + attributeChecks + extendedAttributeChecks + permissionChecks + mappingChecks + lockChecks
}

/// What became of a check.
public enum PosixResult: Sendable {
    /// It holds.
    case passed
    /// It doesn't; the reason.
    case failed(String)
    /// It couldn't be tried; the reason.
    case skipped(String)
}

extension PosixCheck {
    /// Tries the check in a new folder below `parent` and removes the folder.
    public func run(in parent: String, number: Int) -> PosixResult {
        if needsRoot, geteuid() != 0 { return .skipped("needs root") }
        let path = "\(parent)/check-\(number)"
        guard mkdir(path, 0o777) == 0, chmod(path, 0o777) == 0 else {
            return .failed("mkdir \(path): errno \(errno)")
        }
        defer { removeTree(path) }
        do {
            try body(Scratch(path: path))
            return .passed
        } catch let skip as Skip {
            return .skipped(skip.reason)
        } catch {
            return .failed("\(error)")
        }
    }
}

/// Thrown by a check that can't be tried here.
struct Skip: Error {
    var reason: String
}

/// Thrown by a check that doesn't hold.
struct Broken: Error, CustomStringConvertible {
    var description: String
}

/// Removes a folder with all in it.
public func removeTree(_ path: String) {
    guard let folder = opendir(path) else { return }
    var names: [String] = []
    while let entry = readdir(folder) {
        let name = withUnsafePointer(to: entry.pointee.d_name) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != ".", name != ".." { names.append(name) }
    }
    closedir(folder)
    for name in names {
        var status = stat()
        let child = "\(path)/\(name)"
        guard lstat(child, &status) == 0 else { continue }
        if status.st_mode & S_IFMT == S_IFDIR {
            removeTree(child)
        } else {
            _ = unlink(child)
        }
    }
    _ = rmdir(path)
}
