import Glibc
import Platform
import SystemPackage

/// Changes to mounts that need no supervisor.
public enum MountChange {
    /// Changes the flags of a mount (`ro`, `rw`, `nosuid`, ...). Root only: EPERM for others.
    ///
    /// Flags that aren't named keep their values, unless mount(8) has put those that are in force among the options, and left out what
    /// is to go: then its own words are among them.
    ///
    /// - Parameter isReadOnly: what is mounted can't be written: `rw` is refused, which the kernel would take.
    public static func remount(
        _ mountpoint: String, _ options: [String], isReadOnly: Bool
    ) throws(MountError) {
        let isComplete = options.contains { $0.hasPrefix("user_id=") || $0.hasPrefix("uhelper=") }
        let kept = isComplete ? [] : current(mountpoint)
        let flags = try MountOptions.kernelFlags(kept + options)
        let (readOnlyFlag, remountFlag): (UInt, UInt) = (1, 32)
        if isReadOnly, flags & readOnlyFlag == 0 { throw .readOnly }
        do throws(Errno) {
            try SystemCall.mount(
                "saltbridge", at: mountpoint, type: "fuse.saltbridge", flags: flags | remountFlag, options: "")
        } catch {
            throw .system("remount \(mountpoint)", error)
        }
    }

    /// The words of mount(8) that are in force, from /proc/self/mounts.
    private static func current(_ mountpoint: String) -> [String] {
        let lines = ((try? SystemCall.smallFile("/proc/self/mounts")) ?? "").split(separator: "\n")
        // The last one lies on top.
        guard let line = lines.last(where: { $0.split(separator: " ").dropFirst().first == mountpoint[...] }) else {
            return []
        }
        let words = line.split(separator: " ").dropFirst(3).first?.split(separator: ",").map(String.init) ?? []
        return words.filter { MountOptions.isFlag($0) }
    }

    /// Takes a mount away whose supervisor is dead; nil: done.
    public static func takeAway(_ mountpoint: String) -> MountError? {
        FuseMount.unmountOnce(mountpoint, isLazy: true)
    }
}
