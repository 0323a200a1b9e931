import ArgumentParser
import Glibc
import ImageTools
import Platform
import Supervisor
import SystemPackage

/// `/scheme/NAME/PATH`: Redox's name for a file of a scheme. It means the running mount, wherever that is.
struct SchemePath {
    private static let top = "/scheme"
    /// The path behind `/scheme`, without slashes at its ends.
    let rest: String

    /// Nil if the path is no scheme's.
    init?(_ path: String) {
        guard path == Self.top || path.hasPrefix(Self.top + "/") else { return nil }
        var rest = path.dropFirst(Self.top.count)
        while rest.first == "/" { rest.removeFirst() }
        while rest.last == "/" { rest.removeLast() }
        self.rest = String(rest)
    }

    /// The path with more behind it.
    func appending(_ path: String) -> SchemePath {
        var more = path[...]
        while more.first == "/" { more.removeFirst() }
        return more.isEmpty ? self : SchemePath(rest: rest.isEmpty ? String(more) : "\(rest)/\(more)")
    }

    private init(rest: String) { self.rest = rest }

    /// As it is written.
    var text: String { rest.isEmpty ? Self.top : "\(Self.top)/\(rest)" }

    /// For a person: names come from whoever made the files.
    var description: String { ToolFailure.display(Array(text.utf8)) }

    /// Where it is on the host. Throws for paths that go up: they could leave the scheme, and the mount.
    func place(in mount: RunningMount) throws(ToolFailure) -> String {
        guard !rest.split(separator: "/").contains("..") else {
            throw ToolFailure(
                "\(description): a path of a scheme may not contain \"..\"",
                advice: "Name the file from the scheme on: /scheme/NAME/PATH.")
        }
        guard let root = mount.status["root"]?.string else {
            return rest.isEmpty ? mount.mountpoint : "\(mount.mountpoint)/\(rest)"
        }
        // One scheme is at the mount point itself; the others are not in the mount.
        let parts = rest.split(separator: "/", maxSplits: 1)
        guard let name = parts.first else { return mount.mountpoint }
        guard name == root else {
            throw ToolFailure(
                "\(mount.mountpoint) shows the scheme \(root) alone", advice: "Mount without --root to see all schemes."
            )
        }
        return parts.count > 1 ? "\(mount.mountpoint)/\(parts[1])" : mount.mountpoint
    }

    /// The names in it, of a mount with one scheme at its top that scheme's at the top.
    func names(in mount: RunningMount) throws(ToolFailure) -> [String] {
        if rest.isEmpty, let root = mount.status["root"]?.string { return [root] }
        let place = try place(in: mount)
        do throws(Errno) {
            return try SystemCall.directoryNames(place).sorted()
        } catch {
            throw ToolFailure("\(description): \(error)")
        }
    }
}

/// Completion of names that only a running mount knows.
enum SchemeCompletion {
    /// The processes of all mounts: what crash, restart and fault take.
    static let processes = CompletionKind.custom { _, _, prefix in
        let names = RunningMount.all().flatMap { mount in
            (mount.status["processes"]?.array ?? []).compactMap { $0["name"]?.string }
        }
        return Set(names).sorted().filter { $0.hasPrefix(prefix) }
    }

    /// An image of the host, or a path of a scheme.
    static let imagesAndSchemes = CompletionKind.custom { _, _, prefix in
        let host = entries(prefix, folder: { $0.isEmpty ? "." : $0 })
        guard "/scheme/".hasPrefix(prefix) || prefix.hasPrefix("/scheme/") else { return host }
        guard let mount = RunningMount.all().first else { return host }
        if !prefix.hasPrefix("/scheme/") { return host + ["/scheme/"] }
        let parent = String(prefix[...(prefix.lastIndex(of: "/") ?? prefix.startIndex)])
        guard let path = SchemePath(parent), let names = try? path.names(in: mount) else { return [] }
        return names.map { name in
            let full = parent + name
            let place = SchemePath(full).flatMap { try? $0.place(in: mount) } ?? ""
            return full + (isDirectory(place) ? "/" : "")
        }.filter { $0.hasPrefix(prefix) }
    }

    private static func entries(_ prefix: String, folder: (String) -> String) -> [String] {
        let parent = prefix.lastIndex(of: "/").map { String(prefix[...$0]) } ?? ""
        let names = (try? SystemCall.directoryNames(folder(parent))) ?? []
        return names.sorted().map { parent + $0 }.filter { $0.hasPrefix(prefix) }.map {
            $0 + (isDirectory($0) ? "/" : "")
        }
    }

    private static func isDirectory(_ path: String) -> Bool {
        guard let status = try? SystemCall.statusAt(AT_FDCWD, path) else { return false }
        return status.st_mode & S_IFMT == S_IFDIR
    }
}
