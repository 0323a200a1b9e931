import Glibc
import ImageTools
import Platform
import Sandbox
import Supervisor
import SystemPackage

/// A scheme of a user's: its program, and what it is granted. `scheme=WORD` among the options of a mount names
///
/// - one that is installed: `scheme=weather` is the program `scheme-weather` beside this one;
/// - a program by its path: `scheme=/opt/weather/scheme-weather`;
/// - a declaration by its path: `scheme=/opt/weather/scheme-weather.json`.
///
/// A program gets nothing but its channels unless a declaration lies beside it, `scheme-weather.json`. Its members, all optional:
/// `program`, `arguments` (one that begins with `./` is a path in the declaration's folder), `read`, `libraries`,
/// `strict`, `network`, `memory`, `threads`, `descriptors`, `settings`. The declaration is as trusted as the program: who
/// mounts names both.
struct SchemeDeclaration {
    /// The scheme's name, from the file's.
    let name: String
    /// The folder of declaration and program.
    let folder: String
    private let json: ControlJSON

    private static let members: Set<String> = [
        "program", "arguments", "read", "libraries", "strict", "network", "memory", "threads", "descriptors",
        "settings",
    ]

    /// The process of a scheme that the options of a mount name.
    static func member(_ word: String) throws(ToolFailure) -> MemberConfiguration {
        if !word.contains("/") {
            guard isName(word) else { throw ToolFailure("\(word) is no name of a scheme") }
            let path = try ProgramLocator.require("scheme-\(word)")
            return try read("\(path).json", name: word)?.member() ?? plain(word, path)
        }
        let path = try MountPoint.canonical(word)
        let file = path.split(separator: "/").last.map(String.init) ?? ""
        let isDeclaration = file.hasSuffix(".json")
        var name = isDeclaration ? String(file.dropLast(5)) : file
        if name.hasPrefix("scheme-") { name = String(name.dropFirst(7)) }
        guard isName(name) else {
            throw ToolFailure(
                "\(word): no name for a scheme", advice: "The file is called scheme-NAME: letters, digits, - and _.")
        }
        if isDeclaration {
            guard let declaration = try read(path, name: name) else { throw ToolFailure("\(word) does not exist") }
            return try declaration.member()
        }
        return try read("\(path).json", name: name)?.member() ?? plain(name, path)
    }

    /// What is the name of a folder in the mount and a part of file names.
    private static func isName(_ text: String) -> Bool {
        (1...32).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
                    || $0 == 0x2D || $0 == 0x5F
            }
    }

    private static func plain(_ name: String, _ path: String) -> MemberConfiguration {
        var member = MemberConfiguration(name: name, executablePath: path, manifest: .plain(name))
        member.isEssential = false
        return member
    }

    /// Reads a declaration; nil if there is none.
    private static func read(_ path: String, name: String) throws(ToolFailure) -> SchemeDeclaration? {
        let text: String
        do throws(Errno) {
            text = try SystemCall.smallFile(path)
        } catch .noSuchFileOrDirectory {
            return nil
        } catch {
            throw ToolFailure("\(path): \(error)")
        }
        let json: ControlJSON
        do throws(ControlJSONError) {
            json = try ControlJSON(parsing: text)
        } catch {
            throw ToolFailure("\(path): \(error)")
        }
        guard case .object(let given) = json else { throw ToolFailure("\(path) is no JSON object") }
        if let unknown = given.first(where: { !members.contains($0.name) }) {
            throw ToolFailure(
                "\(path): \(unknown.name) is not known",
                advice: "Known are \(members.sorted().joined(separator: ", ")).")
        }
        let folder = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        return SchemeDeclaration(name: name, folder: folder, json: json)
    }

    private func absolute(_ path: String) -> String { path.hasPrefix("/") ? path : "\(folder)/\(path)" }

    private func fail(_ what: String) -> ToolFailure { ToolFailure("\(folder)/scheme-\(name).json: \(what)") }

    private func texts(_ key: String) throws(ToolFailure) -> [String] {
        guard let value = json[key] else { return [] }
        let texts = value.array.compactMap(\.string)
        guard case .array(let all) = value, all.count == texts.count else { throw fail("\(key) is no list of texts") }
        return texts
    }

    private func flag(_ key: String, otherwise: Bool) throws(ToolFailure) -> Bool {
        guard let value = json[key] else { return otherwise }
        guard let flag = value.bool else { throw fail("\(key) is neither true nor false") }
        return flag
    }

    private func limit(_ key: String, _ limit: inout UInt64) throws(ToolFailure) {
        guard let value = json[key] else { return }
        guard let number = value.integer.flatMap({ UInt64(exactly: $0) }), number > 0 else {
            throw fail("\(key) is no count")
        }
        limit = number
    }

    private func member() throws(ToolFailure) -> MemberConfiguration {
        var program = "\(folder)/scheme-\(name)"
        if let value = json["program"] {
            guard let text = value.string else { throw fail("program is no text") }
            program = absolute(text)
        }
        guard SystemCall.exists(program) else { throw fail("there is no program \(program)") }
        var member = Self.plain(name, program)
        var manifest = member.manifest
        manifest.requiresStrictFilter = try flag("strict", otherwise: true)
        if try flag("network", otherwise: false) {
            manifest.namespaces = .all.subtracting(.network)
            manifest.systemCalls.insert(.network)
        }
        if try flag("libraries", otherwise: false) { manifest.grantLibraries() }
        for path in try texts("read") {
            let place = try MountPoint.canonical(absolute(path))
            let isDirectory = (try? SystemCall.statusAt(AT_FDCWD, place).st_mode & S_IFMT) == S_IFDIR
            manifest.binds.append(ReadOnlyBind(path: place, isDirectory: isDirectory))
            manifest.paths.append(PathRule(place, isDirectory ? [.read, .list] : .read))
            manifest.systemCalls.insert(.files)
        }
        try limit("memory", &manifest.limits.memoryBytes)
        try limit("threads", &manifest.limits.threads)
        try limit("descriptors", &manifest.limits.descriptors)
        member.manifest = manifest
        member.arguments = try texts("arguments").map { $0.hasPrefix("./") ? "\(folder)/\($0.dropFirst(2))" : $0 }
        for setting in json["settings"]?.members ?? [] {
            guard let text = setting.value.string else { throw fail("setting \(setting.name) is no text") }
            member.settings.append((setting.name, text))
        }
        return member
    }
}
