import BlockDevice
import Glibc
import ImageTools
import NetworkBlockDevice
import Platform
import Sandbox
import Supervisor
import SystemPackage

/// What is to be mounted, where and how: from the command line, or from mount(8).
struct MountPlan {
    var image: String
    var mountpoint: String
    /// The scheme at the mount point itself; nil: one directory for each.
    var root: String?
    var isReadOnly = false
    /// A file that keeps all writes.
    var overlay: String?
    var generation: UInt64?
    /// For the kernel or fusermount3, in mount(8)'s words.
    var kernelOptions: [String] = []
    var passwordFile: String?
    /// More file systems beside the first: `NAME` appears as the scheme `file.NAME`.
    var others: [(name: String, image: String)] = []
    /// Schemes beside the usual ones: their programs' names without "scheme-", or paths (see `SchemeDeclaration`).
    var extraSchemes: [String] = []
    /// What the network scheme may and must not talk to: rules of `AccessRules`.
    var networkAllow: [String] = []
    var networkDeny: [String] = []
    /// Whether there is a network scheme.
    var hasNetwork = true
    /// Settings for single processes: `file.cache-bytes=67108864`, `router.write-back=0`.
    var settings: [(member: String, key: String, value: String)] = []

    /// Takes in an option of `-o`; what isn't ours goes to the kernel.
    mutating func take(option: String) throws(ToolFailure) {
        let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let value = parts.count == 2 ? parts[1] : ""
        switch parts[0] {
        case "": break
        case "root": root = value == "none" ? nil : value
        case "ro":
            isReadOnly = true
            kernelOptions.append(option)
        case "rw": kernelOptions.append(option)
        case "generation":
            guard let number = UInt64(value) else { throw ToolFailure("generation=\(value) is no number") }
            generation = number
        case "overlay": overlay = value
        case "password-file", "password_file": passwordFile = value
        case "also": try take(other: value)
        case "scheme": extraSchemes.append(value)
        case "network-allow": networkAllow.append(value)
        case "network-deny": networkDeny.append(value)
        case "no-network": hasNetwork = false
        default:
            // The last point: a scheme's own name can have one.
            if let point = parts[0].lastIndex(of: "."), !option.hasPrefix("x-") {
                let key = parts[0][parts[0].index(after: point)...]
                guard parts[0] != "display.password" else {
                    throw ToolFailure(
                        "display.password: everybody on this machine could read the password on the command line",
                        advice: "Write it into the first line of a file: -o display.password-file=FILE.")
                }
                settings.append((String(parts[0][..<point]), String(key), value))
            } else {
                kernelOptions.append(option)
            }
        }
    }

    /// Takes in `NAME=IMAGE`: one more file system.
    mutating func take(other text: String) throws(ToolFailure) {
        let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
        guard parts.count == 2, parts[0].allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }) else {
            throw ToolFailure("\(text): NAME=IMAGE is expected, with a name of letters and digits")
        }
        guard !others.contains(where: { $0.name == parts[0] }) else {
            throw ToolFailure("there are two file systems \(parts[0])")
        }
        others.append((parts[0], parts[1]))
    }

    /// Opens the image and puts everything together that the supervisor needs.
    func configuration() throws(ToolFailure) -> SupervisorConfiguration {
        let isReadOnly = isReadOnly || generation != nil
        var reference = ImageReference(image)
        reference.overlay = overlay
        let opened = try EndingMounts.retrying { () throws(ToolFailure) in
            try ImageLocator.open(reference, writable: !isReadOnly)
        }
        let password = try PasswordOptions.password(file: passwordFile, for: opened)
        var configuration = SupervisorConfiguration(schemes: try schemes(opened, password, isReadOnly))
        var router = MemberConfiguration(
            name: "router", executablePath: try ProgramLocator.require("saltbridge-router"), manifest: .router)
        router.settings = [("source", image)]
        if let root { router.settings.append(("root", root)) }
        configuration.router = router
        configuration.source = opened.name
        let supervisor = try ProgramLocator.require("saltbridge-supervisor")
        configuration.mount = MountRequest(
            mountpoint: try MountPoint.folder(mountpoint),
            source: opened.reference.isRemote
                ? opened.reference.path : try MountPoint.canonical(opened.reference.path),
            options: kernelOptions + (isReadOnly && !kernelOptions.contains("ro") ? ["ro"] : []),
            cleanupProgram: supervisor)
        try applySettings(to: &configuration)
        let names = configuration.schemes.map(\.name)
        if let root, !names.contains(root) {
            throw ToolFailure(
                "there is no scheme \(root) to be the root", advice: "There are \(names.joined(separator: ", ")).")
        }
        RemoteDisk.extendLimits(of: &configuration)
        return configuration
    }

    /// A disk and the file system on it: `disk` and `file`, with more than one `disk.NAME` and `file.NAME`.
    private func fileSystem(
        _ image: OpenedImage, _ password: [UInt8]?, _ isReadOnly: Bool, suffix: String, generation: UInt64?
    ) throws(ToolFailure) -> [MemberConfiguration] {
        let diskName = "disk\(suffix)"
        var disk =
            image.reference.isRemote
            ? try RemoteDisk.member(diskName, image.reference.path)
            : MemberConfiguration(
                name: diskName, executablePath: try ProgramLocator.require("scheme-disk"), manifest: .disk)
        disk.settings += [("name", image.reference.path), ("read-only", isReadOnly ? "1" : "0")]
        var file = MemberConfiguration(
            name: "file\(suffix)", executablePath: try ProgramLocator.require("scheme-file"), manifest: .file,
            uses: [diskName])
        file.settings = [
            ("disk", diskName), ("path", try diskPath(image)), ("read-only", isReadOnly ? "1" : "0"),
        ]
        if let generation { file.settings.append(("generation", "\(generation)")) }
        do throws(Errno) {
            if let file = image.file {
                disk.descriptors = [("image", SharedDescriptor(try file.duplicateDescriptor()))]
            }
            if let overlay = image.overlay {
                disk.descriptors.append(("overlay", SharedDescriptor(try overlay.duplicateDescriptor())))
            }
            if let password { file.descriptors = [("secret", try Self.secret(password))] }
        } catch {
            throw ToolFailure("\(image.name): \(error)")
        }
        return [disk, file]
    }

    private func schemes(
        _ image: OpenedImage, _ password: [UInt8]?, _ isReadOnly: Bool
    ) throws(ToolFailure) -> [MemberConfiguration] {
        var result = try fileSystem(image, password, isReadOnly, suffix: "", generation: generation)
        for other in others {
            let opened = try ImageLocator.open(ImageReference(other.image), writable: !isReadOnly)
            let password = try PasswordOptions.password(file: passwordFile, for: opened)
            result += try fileSystem(opened, password, isReadOnly, suffix: ".\(other.name)", generation: nil)
        }
        for name in ["small", "pipe"] {
            guard let path = ProgramLocator.find("scheme-\(name)") else { continue }
            var member = MemberConfiguration(name: name, executablePath: path, manifest: .plain(name))
            member.isEssential = false
            result.append(member)
        }
        if let path = ProgramLocator.find("scheme-display") {
            var display = MemberConfiguration(name: "display", executablePath: path, manifest: .display)
            display.isEssential = false
            display.settings = [("uid", "\(getuid())"), ("gid", "\(getgid())")]
            try addViewers(&display)
            result.append(display)
        }
        if hasNetwork, let path = ProgramLocator.find("scheme-network") {
            var member = MemberConfiguration(name: "network", executablePath: path, manifest: .network)
            member.isEssential = false
            member.settings = [
                ("owner", "\(getuid()):\(getgid())"), ("allow", networkAllow.joined(separator: " ")),
                ("deny", networkDeny.joined(separator: " ")),
            ]
            do throws(AccessRules.BadRule) {
                _ = try AccessRules(
                    allow: networkAllow.joined(separator: " "), deny: networkDeny.joined(separator: " "))
            } catch {
                throw ToolFailure(
                    "\(error.text) is no rule for the network",
                    advice: "A rule is ADDRESS[/BITS][:PORT[-PORT]]; an IPv6 address with ports stands in brackets.")
            }
            member.descriptors = try networkDescriptors()
            result.append(member)
        }
        for text in extraSchemes {
            let member = try SchemeDeclaration.member(text)
            guard !result.contains(where: { $0.name == member.name }), member.name != "router", member.name != "sys"
            else { throw ToolFailure("the scheme \(member.name) is there already") }
            result.append(member)
        }
        return result
    }

    /// What the network scheme can't open itself: the certificates that `tls` trusts (the setting `network.ca`, else the system's),
    /// and as root raw sockets for `icmp/echo`, unless the kernel lets everyone have sockets of that kind.
    private func networkDescriptors() throws(ToolFailure) -> [(name: String, descriptor: SharedDescriptor)] {
        var result: [(name: String, descriptor: SharedDescriptor)] = []
        if let file = settings.last(where: { $0.member == "network" && $0.key == "ca" })?.value {
            do throws(Errno) {
                result.append(("certificates", SharedDescriptor(try SystemCall.open(file, O_RDONLY))))
            } catch {
                throw ToolFailure("\(file): \(error)")
            }
        } else {
            for path in Self.certificateFiles where result.isEmpty {
                if let file = try? SystemCall.open(path, O_RDONLY) {
                    result.append(("certificates", SharedDescriptor(file)))
                }
            }
        }
        let groups = (try? SystemCall.smallFile("/proc/sys/net/ipv4/ping_group_range")) ?? ""
        if geteuid() == 0, groups.split(whereSeparator: \.isWhitespace) != ["0", "2147483647"] {
            // Without IPv6, or in a container without CAP_NET_RAW, there is none: opening a file in icmp/echo says so.
            for (name, isIPv6) in [("icmp4", false), ("icmp6", true)] {
                if let socket = try? SystemCall.rawEchoSocket(isIPv6: isIPv6) { result.append((name, socket)) }
            }
        }
        return result
    }

    /// Where distributions have the certificates that they trust.
    private static let certificateFiles = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ]

    /// What the settings `display.vnc`, `display.web` and `display.password-file` ask for.
    private func addViewers(_ display: inout MemberConfiguration) throws(ToolFailure) {
        func setting(_ key: String) -> String? { settings.last { $0.member == "display" && $0.key == key }?.value }
        if let file = setting("password-file") {
            let password: String
            do throws(Errno) {
                // Bytes: CR and LF together are a single character.
                let line = try SystemCall.smallFile(file).utf8.prefix { $0 != 0x0a && $0 != 0x0d }
                password = String(decoding: Array(line), as: UTF8.self)
            } catch {
                throw ToolFailure("\(file): \(error)")
            }
            // Nobody means a password that everybody knows.
            guard !password.isEmpty else { throw ToolFailure("\(file): no password in the first line") }
            display.settings.append(("password", password))
        }
        for key in Self.viewerAddresses {
            guard let address = setting(key) else { continue }
            let listener = try ViewerListener.open(address, hasPassword: setting("password-file") != nil)
            display.descriptors.append((key, listener))
            if address.hasPrefix("/") { display.socketFiles.append(address) }
            display.settings.append(("\(key)-address", address))
        }
    }

    private static let viewerAddresses = ["vnc", "web"]

    /// The disk scheme's name of the part that holds the file system.
    private func diskPath(_ image: OpenedImage) throws(ToolFailure) -> String {
        guard let wanted = image.partition else { return "0" }
        do throws(BlockDeviceError) {
            let index = try PartitionTable.read(image.whole).firstIndex { $0.number == wanted.number }
            return index.map { "0p\($0)" } ?? "0"
        } catch {
            throw .device(error, path: image.name)
        }
    }

    private static func secret(_ password: [UInt8]) throws(Errno) -> SharedDescriptor {
        let memory = try SharedMemory.create(name: "secret", byteCount: password.count)
        let span = password.span
        try SystemCall.writeAll(memory.rawValue, unsafe span.bytes)
        try SharedMemory.addSeals(memory.rawValue, [.write, .seal])
        return SharedDescriptor(memory)
    }

    private func applySettings(to configuration: inout SupervisorConfiguration) throws(ToolFailure) {
        for (member, key, value) in settings {
            if member == "network", key == "ca" { continue }
            if member == "display", Self.viewerAddresses.contains(key) || key == "password-file" { continue }
            if member == "router" {
                configuration.router?.settings.append((key, value))
            } else if let index = configuration.schemes.firstIndex(where: { $0.name == member }) {
                configuration.schemes[index].settings.append((key, value))
            } else {
                throw ToolFailure("there is no scheme \(member) to set \(key) of")
            }
        }
    }
}

/// Paths of mount points.
enum MountPoint {
    /// The path without links, `.` and `..`; works for a mount whose server is dead, too.
    static func canonical(_ path: String) throws(ToolFailure) -> String {
        if let result = realPath(path) { return result }
        let code = Errno(rawValue: errno)
        guard code == Errno(rawValue: ENOTCONN) || code == .ioError else { throw ToolFailure("\(path): \(code)") }
        var parts = path.split(separator: "/", omittingEmptySubsequences: true).map(String.init)
        guard let name = parts.popLast() else { return "/" }
        let parent = (path.hasPrefix("/") ? "/" : "") + parts.joined(separator: "/")
        guard let folder = realPath(parent.isEmpty ? "." : parent) else {
            throw ToolFailure("\(path): \(Errno(rawValue: errno))")
        }
        return folder == "/" ? "/\(name)" : "\(folder)/\(name)"
    }

    /// The same of a path that something is to be mounted at: a directory.
    static func folder(_ path: String) throws(ToolFailure) -> String {
        let result = try canonical(path)
        var status = stat()
        // One whose server is dead can't be asked, and will be refused when it is mounted.
        if unsafe stat(result, &status) == 0, status.st_mode & S_IFMT != S_IFDIR {
            throw ToolFailure("\(path) is no directory")
        }
        return result
    }

    private static func realPath(_ path: String) -> String? {
        guard let result = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(result) }
        return unsafe String(cString: result)
    }
}
