import ArgumentParser
import Glibc
import ImageTools
import Platform
import Supervisor
import SystemPackage

struct UnmountImage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unmount",
        abstract: "End a mount.",
        discussion: "Returns when the image is consistent and every process of the mount has ended.",
        aliases: ["umount"])

    @Argument(help: "Mount points.", completion: .directory)
    var mountpoints: [String] = []

    @Flag(help: "All mounts of yours.")
    var all = false

    @Flag(help: "Take a mount away that is in use; who uses it gets errors.")
    var lazy = false

    func validate() throws {
        if all != mountpoints.isEmpty { throw ValidationError("Say which mounts, or --all.") }
    }

    func run() throws {
        let wanted = all ? RunningMount.all().map(\.mountpoint) : mountpoints
        var failure: ToolFailure?
        for mountpoint in wanted {
            do throws(ToolFailure) {
                try Unmounter.unmount(mountpoint, isLazy: lazy)
            } catch {
                if failure != nil { Console.report(error) }
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }
}

/// Ends mounts.
enum Unmounter {
    static func unmount(_ path: String, isLazy: Bool) throws(ToolFailure) {
        let mountpoint = try MountPoint.canonical(path)
        guard let mount = RunningMount.all().first(where: { $0.mountpoint == mountpoint }) else {
            try takeAwayDead(mountpoint)
            return
        }
        // Held before it is asked: its number may be another's when it has ended.
        let process = try? SystemCall.openProcess(mount.processNumber)
        do throws(ControlClientError) {
            _ = try mount.client.ask(.make(["command": .string("stop"), "force": .bool(isLazy)]))
        } catch .ended {
            // It ended, and the answer got lost.
        } catch {
            throw ToolFailure(
                "cannot unmount \(path): \(error)",
                advice: isLazy ? nil : "End the programs that use it, or take it away with --lazy.")
        }
        if let process { waitForEnd(process.rawValue) }
        MountTable.remove(mountpoint: mountpoint)
    }

    /// Takes a mount out of the tree of names. It serves on until nobody uses it.
    static func detach(_ path: String) throws(ToolFailure) {
        let mountpoint = try MountPoint.canonical(path)
        if let error = MountChange.takeAway(mountpoint) { throw ToolFailure("cannot unmount \(path): \(error)") }
        MountTable.remove(mountpoint: mountpoint)
    }

    private static func waitForEnd(_ process: Int32) {
        var entries = [pollfd(fd: process, events: Int16(POLLIN), revents: 0)]
        while (try? SystemCall.poll(&entries, milliseconds: -1)) == 0 {}
    }

    /// A mount whose supervisor is dead.
    private static func takeAwayDead(_ mountpoint: String) throws(ToolFailure) {
        let mounts = (try? SystemCall.smallFile("/proc/self/mounts")) ?? ""
        let isOurs = mounts.split(separator: "\n").contains { line in
            let fields = line.split(separator: " ")
            return fields.count > 2 && fields[1] == mountpoint && fields[2] == "fuse.saltbridge"
        }
        guard isOurs else { throw ToolFailure("\(mountpoint) is no mount of yours") }
        if let error = MountChange.takeAway(mountpoint) { throw ToolFailure("cannot unmount \(mountpoint): \(error)") }
        MountTable.remove(mountpoint: mountpoint)
    }
}
