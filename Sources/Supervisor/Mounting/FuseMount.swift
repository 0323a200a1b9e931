import Glibc
import Platform
import SystemPackage

/// A mounted /dev/fuse, held for as long as the mount is to last.
final class FuseMount {
    let request: MountRequest
    /// The FUSE connection.
    let descriptor: SharedDescriptor
    /// Readable when an unmount has ended.
    let unmountEvent: SharedDescriptor
    /// The kernel knows the mount no more.
    var isGone = false
    private let outcome = Locked<MountError??>(nil)
    private var cleanup: MountCleanup?

    private static let maximumReadBytes = 1 << 20

    /// Mounts. Requests wait in the kernel until somebody reads the descriptor.
    init(_ request: MountRequest) throws(SupervisorError) {
        self.request = request
        do throws(MountError) {
            descriptor = geteuid() == 0 ? try Self.mountAsRoot(request) : try FuseHelper.mount(request)
        } catch {
            throw .mount(error)
        }
        do throws(Errno) {
            unmountEvent = SharedDescriptor(try SystemCall.eventDescriptor())
        } catch {
            throw .system("eventfd", error)
        }
        if let program = request.cleanupProgram { cleanup = MountCleanup(program: program, request.mountpoint) }
    }

    private static func mountAsRoot(_ request: MountRequest) throws(MountError) -> SharedDescriptor {
        let flags = try MountOptions.kernelFlags(request.options)
        let device: OwnedDescriptor
        let mode: mode_t
        do throws(Errno) {
            device = try SystemCall.open("/dev/fuse", O_RDWR)
        } catch {
            throw .system("/dev/fuse", error)
        }
        do throws(Errno) {
            let target = try SystemCall.open(request.mountpoint, O_RDONLY | O_DIRECTORY)
            mode = try SystemCall.status(target.rawValue).st_mode & S_IFMT
        } catch {
            throw .system(request.mountpoint, error)
        }
        // Everybody may use what root mounts; the kernel checks the permissions.
        let options = [
            "fd=\(device.rawValue)", "rootmode=\(String(mode, radix: 8))", "user_id=0", "group_id=0", "allow_other",
            "default_permissions", "max_read=\(maximumReadBytes)",
        ]
        do throws(Errno) {
            try SystemCall.mount(
                request.source, at: request.mountpoint, type: "fuse.saltbridge", flags: flags,
                options: options.joined(separator: ","))
        } catch {
            throw .system("mount \(request.mountpoint)", error)
        }
        return SharedDescriptor(device)
    }

    /// Unmounts in a thread: the kernel writes back first, for which everything must go on serving.
    ///
    /// - Parameter force: a mount in use is detached.
    func beginUnmount(force: Bool) {
        let mountpoint = request.mountpoint
        let outcome = outcome
        let event = unmountEvent
        outcome.withLock { $0 = nil }
        do {
            try spawnThread(name: "unmount", stackSize: 256 << 10) {
                let result = Self.unmount(mountpoint, force: force)
                outcome.withLock { $0 = .some(result) }
                SystemCall.signalEvent(event.rawValue)
            }
        } catch {
            outcome.withLock { $0 = .some(.system("thread", error)) }
            SystemCall.signalEvent(event.rawValue)
        }
    }

    /// How the unmount ended: the outer nil is "not yet", the inner is success.
    func unmountOutcome() -> MountError?? {
        SystemCall.clearEvent(unmountEvent.rawValue)
        let result = outcome.withLock { $0 }
        if case .some(.none) = result { isGone = true }
        return result
    }

    /// Detaches the mount now; who uses it gets ENOTCONN when the router has ended.
    func takeAway() {
        guard !isGone else { return }
        _ = Self.unmountOnce(request.mountpoint, isLazy: true)
        isGone = true
    }

    /// For the end after a fault.
    func endNow() {
        takeAway()
        forgetCleanup()
    }

    /// Nothing is left to clean up.
    func forgetCleanup() {
        cleanup?.dismiss()
        cleanup = nil
    }

    private static func unmount(_ mountpoint: String, force: Bool) -> MountError? {
        guard let error = unmountOnce(mountpoint, isLazy: false) else { return nil }
        return force ? unmountOnce(mountpoint, isLazy: true) : error
    }

    /// One attempt; nil: done.
    static func unmountOnce(_ mountpoint: String, isLazy: Bool) -> MountError? {
        guard geteuid() == 0 else { return FuseHelper.unmount(mountpoint, isLazy: isLazy) }
        // MNT_DETACH, UMOUNT_NOFOLLOW.
        do throws(Errno) {
            try SystemCall.unmount(mountpoint, flags: (isLazy ? 2 : 0) | 8)
            return nil
        } catch .resourceBusy {
            return .busy(mountpoint)
        } catch {
            return .system("unmount \(mountpoint)", error)
        }
    }
}
