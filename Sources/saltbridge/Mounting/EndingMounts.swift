import Glibc
import ImageTools
import Platform
import SystemPackage

/// Mounts of the caller that are ending. Who unmounts without us (umount(2), umount(8) without the helper) goes on before the last
/// changes are in the image and the image is free: whoever needs the image next waits here.
enum EndingMounts {
    /// How often a mount that the kernel knows no more is looked at until its supervisor has noticed, every 10 ms.
    private static let looks = 50

    /// Opens an image; if that fails and a mount was just ending, tries again when it has ended.
    static func retrying<Result>(_ open: () throws(ToolFailure) -> Result) throws(ToolFailure) -> Result {
        do throws(ToolFailure) {
            return try open()
        } catch {
            guard RunningMount.all().count(where: { hasEnded($0) }) > 0 else { throw error }
            return try open()
        }
    }

    /// Waits for a mount's end if it is ending.
    private static func hasEnded(_ mount: RunningMount) -> Bool {
        guard let process = try? SystemCall.openProcess(mount.processNumber) else { return true }
        var phase = mount.status["phase"]?.string
        var looks = 0
        // In another mount namespace it may be there all the same.
        while phase == "serving", !isMounted(mount.mountpoint), looks < Self.looks {
            usleep(10_000)
            looks += 1
            phase = (try? mount.ask(.make(["command": .string("status")])))?["status"]?["phase"]?.string
        }
        // Without an answer it has ended, or is about to.
        guard phase == "finishing" || phase == "ended" || phase == nil else { return false }
        var entries = [pollfd(fd: process.rawValue, events: Int16(POLLIN), revents: 0)]
        while (try? SystemCall.poll(&entries, milliseconds: -1)) == 0 {}
        return true
    }

    private static func isMounted(_ mountpoint: String) -> Bool {
        let mounts = (try? SystemCall.smallFile("/proc/self/mounts")) ?? ""
        return mounts.split(separator: "\n").contains { line in
            line.split(separator: " ").dropFirst().first == mountpoint[...]
        }
    }
}
