import SystemPackage

/// A mount to be made.
public struct MountRequest: Sendable, Equatable {
    /// Where: an absolute path of a directory.
    public var mountpoint: String
    /// What is shown as the source in /proc/mounts.
    public var source: String
    /// Options in mount(8)'s words: `ro`, `nosuid`, `nodev`, `noexec`, `noatime`, `allow_other`, ...
    public var options: [String]
    /// The program that unmounts should the supervisor die; nil: nobody does.
    public var cleanupProgram: String?

    /// A mount without options.
    public init(mountpoint: String, source: String, options: [String] = [], cleanupProgram: String? = nil) {
        self.mountpoint = mountpoint
        self.source = source
        self.options = options
        self.cleanupProgram = cleanupProgram
    }
}

/// Why a mount can't be made or ended.
public enum MountError: Error, Equatable, Sendable, CustomStringConvertible {
    /// An option that neither we nor the kernel know.
    case option(String)
    /// A system call failed.
    case system(String, Errno)
    /// fusermount3 isn't installed.
    case noHelper
    /// fusermount3 refused; the text is how it ended.
    case helper(String)
    /// Somebody uses the mount.
    case busy(String)
    /// The mount's image was opened only to be read.
    case readOnly

    /// What failed and why.
    public var description: String {
        switch self {
        case .option(let text): "mount option \(text) is not known"
        case .system(let what, let errno): "\(what): \(errno)"
        case .noHelper: "mounting as an ordinary user needs fusermount3 (package fuse3)"
        case .helper(let text): "fusermount3 \(text)"
        case .busy(let path): "\(path) is in use"
        case .readOnly: "its image was opened only to be read"
        }
    }
}

/// mount(8)'s words as the kernel's flags.
enum MountOptions {
    /// MS_* bits (mount(2)); with `false` the word clears the bit.
    private static let flags: [String: (UInt, Bool)] = [
        "ro": (1, true), "rw": (1, false), "nosuid": (2, true), "suid": (2, false), "nodev": (4, true),
        "dev": (4, false), "noexec": (8, true), "exec": (8, false), "sync": (16, true), "async": (16, false),
        "dirsync": (128, true), "noatime": (1024, true), "atime": (1024, false), "nodiratime": (2048, true),
        "diratime": (2048, false), "relatime": (1 << 21, true), "norelatime": (1 << 21, false),
        "strictatime": (1 << 24, true), "lazytime": (1 << 25, true),
    ]
    /// Words of fstab(5) that are mount(8)'s own business.
    private static let ignored: Set<String> = [
        "defaults", "auto", "noauto", "user", "users", "nouser", "owner", "group", "nofail", "_netdev", "allow_other",
        "default_permissions", "fsname", "subtype", "remount", "loop", "helper", "uhelper",
        // A remount by mount(8) names what the mount shows in /proc/mounts.
        "fd", "rootmode", "user_id", "group_id", "max_read", "blksize",
    ]

    /// The flags; words starting with `x-` and comments are left out.
    static func kernelFlags(_ options: [String]) throws(MountError) -> UInt {
        var result: UInt = 0
        for option in options {
            if let (bit, isSet) = flags[option] {
                if isSet { result |= bit } else { result &= ~bit }
            } else if !isIgnored(option) {
                throw .option(option)
            }
        }
        return result
    }

    /// Whether it is a word for a flag of the kernel.
    static func isFlag(_ option: String) -> Bool { flags[option] != nil }

    /// Those that fusermount3 understands, in its words.
    static func helperOptions(_ options: [String]) throws(MountError) -> [String] {
        _ = try kernelFlags(options)
        // suid and dev are refused to users; fusermount3 sets the opposite by itself.
        return options.filter { flags[$0] != nil && $0 != "suid" && $0 != "dev" || $0 == "allow_other" }
    }

    private static func isIgnored(_ option: String) -> Bool {
        let name = String(option.prefix { $0 != "=" })
        return ignored.contains(name) || name.hasPrefix("x-") || name.hasPrefix("comment")
    }
}
