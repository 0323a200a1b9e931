import ArgumentParser
import Glibc
import ImageTools
import Platform
import SystemPackage

struct ViewDisplay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "view",
        abstract: "Look at a mount's display.",
        discussion: """
            Opens what the mount was told to listen on (display.vnc, display.web): with the first VNC viewer that is installed, \
            or with --web in a browser. With --print it only says the address.
            """)

    @Argument(help: "Where the schemes are mounted.", completion: .directory)
    var mountpoint: String

    @Flag(help: "Open the page in a browser.")
    var web = false

    @Flag(help: "Only print the address.")
    var print = false

    func run() throws {
        let path = "\(mountpoint)/display/0/info"
        let lines: [Substring]
        do throws(Errno) {
            lines = try SystemCall.smallFile(path).split(separator: "\n")
        } catch {
            throw ToolFailure(
                "\(path): \(error)",
                advice: "A mount with --root shows no display: use the address that it was given as display.vnc.")
        }
        let key = web ? "web " : "vnc "
        guard let line = lines.first(where: { $0.hasPrefix(key) }) else {
            throw ToolFailure("\(mountpoint) was mounted without display.\(key.dropLast())")
        }
        // The display server says it, which isn't to be trusted: it becomes an argument of a program of the user's.
        let text = String(line.dropFirst(4))
        guard let address = ViewerAddress(text) else {
            throw ToolFailure(
                "\(path) names no address that a viewer can be started with: \(ToolFailure.display(Array(text.utf8)))")
        }
        guard let target = web ? address.page : address.viewerArgument else {
            throw ToolFailure("the page is served at the Unix socket \(text), which browsers can't open")
        }
        if self.print {
            Swift.print(target)
            return
        }
        let programs = web ? [ViewerProgram("xdg-open", target)] : address.viewers
        for program in programs {
            var arguments = unsafe ([program.name] + program.arguments).map { unsafe strdup($0) } + [nil]
            _ = unsafe execvp(program.name, &arguments)
        }
        let names = programs.map(\.name)
        throw ToolFailure(
            names.count == 1
                ? "\(names[0]) can't be started: open \(target) yourself"
                : "none of \(names.joined(separator: ", ")) can be started: open \(target) yourself")
    }
}
