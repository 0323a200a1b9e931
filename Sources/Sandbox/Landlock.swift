import CLinux
import Glibc
import Platform
import SystemPackage

/// Access to a file or directory and all below it, for landlock.
public struct PathAccess: OptionSet, Sendable, Hashable {
    /// LANDLOCK_ACCESS_FS_* bits.
    public let rawValue: UInt64
    /// From LANDLOCK_ACCESS_FS_* bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Executing files.
    public static let execute = PathAccess(rawValue: 1 << 0)
    /// Opening files for writing.
    public static let write = PathAccess(rawValue: 1 << 1)
    /// Opening files for reading.
    public static let read = PathAccess(rawValue: 1 << 2)
    /// Listing directories.
    public static let list = PathAccess(rawValue: 1 << 3)
}

/// What a process may do with one path of the host.
public struct PathRule: Sendable, Equatable {
    /// Absolute path.
    public let path: String
    /// What is granted.
    public let access: PathAccess
    /// A rule.
    public init(_ path: String, _ access: PathAccess) {
        self.path = path
        self.access = access
    }
}

/// A landlock ruleset: everything that it handles is forbidden but for its rules (landlock(7)). Built once, used by each
/// incarnation of a process.
struct LandlockRuleset: ~Copyable, Sendable {
    let descriptor: OwnedDescriptor

    /// The version of landlock that the kernel has, 0 without.
    static var version: Int32 { max(clinux_landlock_abi(), 0) }

    /// All of the file system, TCP ports, and from version 6 on abstract sockets and signals to processes outside.
    ///
    /// - Parameter reachesNetwork: leaves TCP alone: the process has a network to use.
    init(reachesNetwork: Bool) throws(SandboxError) {
        let version = Self.version
        guard version >= 1 else { throw .landlockUnavailable }
        // Bits by version: 13 file accesses at first, then renaming across directories, truncation, ioctl on devices.
        var files: UInt64 = (1 << 13) - 1
        if version >= 2 { files |= 1 << 13 }
        if version >= 3 { files |= 1 << 14 }
        if version >= 5 { files |= 1 << 15 }
        let network: UInt64 = version >= 4 && !reachesNetwork ? 3 : 0
        let scoped: UInt64 = version >= 6 ? 3 : 0
        let size = version >= 6 ? 24 : version >= 4 ? 16 : 8
        do throws(Errno) {
            descriptor = OwnedDescriptor(
                adopting: try SystemCall.retrying { clinux_landlock_create(files, network, scoped, size) })
        } catch {
            throw .landlock("creating the ruleset", error)
        }
    }

    /// Grants access to what an open descriptor refers to.
    func allow(_ access: PathAccess, beneath path: Int32, named name: String) throws(SandboxError) {
        let raw = descriptor.rawValue
        do throws(Errno) {
            try SystemCall.retrying { clinux_landlock_allow_path(raw, access.rawValue, path) }
        } catch {
            throw .landlock("allowing \(name)", error)
        }
    }

    /// Grants access to a path.
    func allow(_ rule: PathRule) throws(SandboxError) {
        let path: OwnedDescriptor
        do throws(Errno) {
            path = try SystemCall.openPath(rule.path)
        } catch {
            throw .landlock("opening \(rule.path)", error)
        }
        // Rights that belong to directories are refused for a file.
        let mode = (try? SystemCall.status(path.rawValue))?.st_mode ?? 0
        let isDirectory = mode & S_IFMT == S_IFDIR
        try allow(isDirectory ? rule.access : rule.access.subtracting(.list), beneath: path.rawValue, named: rule.path)
    }
}
