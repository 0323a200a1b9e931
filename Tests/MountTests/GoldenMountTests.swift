import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

/// Images that the reference implementation made, mounted: what is in them is what their manifests say.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct GoldenMountTests {
    @Test(arguments: GoldenImage.allCases) func contentsAreTheManifests(golden: GoldenImage) throws {
        let mount = try ToolMount(size: nil)
        try golden.write(to: mount.image)
        let secret = mount.folder.file("password")
        let file = try SystemCall.open(secret, O_CREAT | O_WRONLY, mode: 0o600)
        try SystemCall.write(text: "password\n", to: file.rawValue)
        // Atime of the image is compared, so reading must not move it.
        try mount.mount("--root", "file", "--password-file", secret, "-o", "noatime")
        let manifest = try golden.manifest()
        for entry in manifest.entries { try compare(entry, mount, manifest.segments?[entry.path]) }
        // A full one has no room for more.
        if golden != .full {
            try mount.write("saltbridge", "written at a mount")
            #expect(try mount.read("saltbridge") == "written at a mount")
        }
        try mount.unmount()
        let check = try mount.run(["fsck", mount.image, "--password-file", secret])
        // Blocks that the reference leaked stay leaked until somebody repairs: 4 is "errors left", which these are.
        #expect(check.status == 0 || manifest.check.leakedBlocks > 1, "\(check.text) \(check.errors)")
    }

    private func compare(
        _ entry: GoldenManifest.Entry, _ mount: ToolMount, _ segments: [GoldenManifest.Segment]?
    ) throws {
        let path = mount.point + (entry.path == "/" ? "" : entry.path)
        let status = try SystemCall.statusAt(AT_FDCWD, path, flags: AT_SYMLINK_NOFOLLOW)
        let kinds: [String: mode_t] = ["file": S_IFREG, "dir": S_IFDIR, "symlink": S_IFLNK]
        #expect(status.st_mode & S_IFMT == kinds[entry.type], "\(entry.path)")
        #expect(String(status.st_mode & 0o7777, radix: 8) == String(UInt32(entry.mode, radix: 8) ?? .max, radix: 8))
        #expect(status.st_uid == entry.uid && status.st_gid == entry.gid, "\(entry.path)")
        #expect(status.st_ino == UInt64(entry.node), "\(entry.path)")
        #expect(status.st_mtim.tv_sec == Int(entry.mtime) && status.st_mtim.tv_nsec == Int(entry.mtimeNanoseconds))
        if entry.type != "dir" { #expect(UInt64(status.st_size) == entry.size, "\(entry.path)") }
        if let target = entry.target { #expect(try SystemCall.readLink(path) == target) }
        if let sum = entry.sha256 { #expect(try digest(path, 0, Int(entry.size)) == sum, "\(entry.path)") }
        for segment in segments ?? [] {
            #expect(
                try digest(path, segment.offset, segment.length) == segment.sha256,
                "\(entry.path) at \(segment.offset)")
        }
    }

    private func digest(_ path: String, _ offset: UInt64, _ byteCount: Int) throws -> String {
        let file = try SystemCall.open(path, O_RDONLY)
        let sum = SHA256()
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var done = 0
        while done < byteCount {
            let part = min(buffer.count, byteCount - done)
            let count = unsafe pread(file.rawValue, &buffer, part, off_t(offset) + done)
            guard count > 0 else { throw Errno(rawValue: count < 0 ? errno : EIO) }
            sum.update(Array(buffer.prefix(count)))
            done += count
        }
        return sum.finish()
    }
}
