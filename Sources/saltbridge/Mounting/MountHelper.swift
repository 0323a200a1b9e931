import Glibc
import ImageTools
import Platform
import Supervisor
import SystemPackage

/// This program under the names that mount(8) and umount(8) look for: `mount.saltbridge`, `mount.fuse.saltbridge`,
/// `umount.saltbridge`, `umount.fuse.saltbridge`.
///
///     mount.saltbridge IMAGE MOUNTPOINT [-sfnvr] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]
///     umount.saltbridge MOUNTPOINT [-flnrv] [-N NAMESPACE] [-t TYPE]
///
/// The files of the image are at the mount point itself, unless `root=none` is among the options.
enum MountHelper {
    /// Runs as a helper if the name says so; nil: it is the ordinary command line.
    static func run(_ arguments: [String]) -> Int32? {
        guard let path = arguments.first else { return nil }
        let name = path.split(separator: "/").last.map(String.init) ?? path
        let rest = Array(arguments.dropFirst())
        do throws(ToolFailure) {
            switch name {
            case "mount.saltbridge", "mount.fuse.saltbridge": try mount(rest)
            case "umount.saltbridge", "umount.fuse.saltbridge": try unmount(rest)
            default: return nil
            }
            return 0
        } catch {
            Console.report(error)
            // mount(8): 32 is "mount failure".
            return 32
        }
    }

    private static func mount(_ arguments: [String]) throws(ToolFailure) {
        var words: [String] = []
        var options: [String] = []
        var isFake = false
        var index = 0
        while index < arguments.count {
            let argument = arguments[index]
            index += 1
            switch argument {
            case "-o":
                guard index < arguments.count else { throw ToolFailure("-o needs options") }
                options += arguments[index].split(separator: ",").map(String.init)
                index += 1
            case "-N", "-t": index += 1
            case "-r": options.append("ro")
            case "-f": isFake = true
            case _ where argument.hasPrefix("-"): break
            default: words.append(argument)
            }
        }
        guard words.count == 2 else { throw ToolFailure("usage: mount.saltbridge IMAGE MOUNTPOINT [-o OPTIONS]") }
        if options.contains("remount") {
            try remount(words[1], options)
            return
        }
        var plan = MountPlan(image: words[0], mountpoint: words[1])
        plan.root = "file"
        for option in options { try plan.take(option: option) }
        if !isFake { try Mounter().mount(plan) }
    }

    private static func remount(_ mountpoint: String, _ options: [String]) throws(ToolFailure) {
        let path = try MountPoint.canonical(mountpoint)
        let running = RunningMount.all().first { $0.mountpoint == path }
        do throws(MountError) {
            try MountChange.remount(path, options, isReadOnly: running?.isReadOnly ?? false)
        } catch .readOnly {
            throw ToolFailure(
                "cannot remount \(mountpoint) for writing: \(MountError.readOnly)",
                advice: "Unmount it and mount it again without ro, --read-only or --generation.")
        } catch {
            throw ToolFailure("cannot remount \(mountpoint): \(error)")
        }
    }

    private static func unmount(_ arguments: [String]) throws(ToolFailure) {
        var words: [String] = []
        var (isLazy, isForced) = (false, false)
        var index = 0
        while index < arguments.count {
            let argument = arguments[index]
            index += 1
            switch argument {
            case "-N", "-t": index += 1
            case _ where argument.hasPrefix("-"):
                isLazy = isLazy || argument.contains("l")
                isForced = isForced || argument.contains("f")
            default: words.append(argument)
            }
        }
        guard words.count == 1 else { throw ToolFailure("usage: umount.saltbridge MOUNTPOINT") }
        // What umount(8) calls lazy takes the name away: who has files open goes on, and the mount ends with the last of them.
        if isLazy, !isForced {
            try Unmounter.detach(words[0])
        } else {
            try Unmounter.unmount(words[0], isLazy: isForced)
        }
    }
}
