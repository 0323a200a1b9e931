import CMount
import Glibc

// umount(8) looks at the table of user space (/run/mount/utab, of libmount) before it asks a helper: a mount that isn't in it is taken
// away by the kernel alone, which doesn't wait for a FUSE file system. So root's mounts stand there with our helper's name, and
// umount(8) returns when the image is consistent, if the helper is installed.

/// Root's mounts in the table that umount(8) reads. An ordinary user can't write it; without the entry umount(8) works, and
/// returns a moment earlier.
@safe
enum MountTable {
    /// umount(8) runs /sbin/umount.NAME.
    private static let helper = "uhelper=fuse.saltbridge"

    /// Enters a mount, in place of an earlier one there that ended without us (its supervisor was told to end).
    static func add(source: String, mountpoint: String) {
        guard geteuid() == 0 else { return }
        remove(mountpoint: mountpoint)
        unsafe update { change in
            guard let entry = unsafe mnt_new_fs() else { return false }
            defer { unsafe mnt_unref_fs(entry) }
            return unsafe mnt_fs_set_source(entry, source) == 0 && mnt_fs_set_target(entry, mountpoint) == 0
                && mnt_fs_set_fstype(entry, "fuse.saltbridge") == 0 && mnt_fs_set_root(entry, "/") == 0
                && mnt_fs_append_options(entry, helper) == 0 && mnt_update_set_fs(change, 0, nil, entry) == 0
        }
    }

    /// Takes a mount out, if it is there.
    static func remove(mountpoint: String) {
        guard geteuid() == 0 else { return }
        unsafe update { change in unsafe mnt_update_set_fs(change, 0, mountpoint, nil) == 0 }
    }

    /// One change of the table, under its lock.
    private static func update(_ prepare: (OpaquePointer) -> Bool) {
        guard let change = unsafe mnt_new_update() else { return }
        defer { unsafe mnt_free_update(change) }
        if unsafe prepare(change) { _ = unsafe mnt_update_table(change, nil) }
    }
}
