// Run inside a sandbox: tries to get out by every way that it knows, and prints one line for each attempt:
// "held NAME ERRNO" or "ESCAPED NAME what happened". The environment tells what lies outside:
//   ESCAPE_FILTER   "strict": installs the strict filter first; else the attempts meet the other layers alone
//   ESCAPE_VICTIM   number of a process outside
//   ESCAPE_ADDRESS  address in that process's memory (decimal)
//   ESCAPE_PORT     a TCP port of 127.0.0.1 on which somebody outside listens
//   ESCAPE_SOCKET   name of an abstract socket on which somebody outside listens
//   ESCAPE_PATH     a file outside that everyone may read and write
//   ESCAPE_SHM      key of a System V memory segment outside
//   ESCAPE_ONLY     names of the only attempts to make, separated by commas: for the control outside of any sandbox,
//                   where most of them would do harm; absent inside
//   ESCAPE_RUNNER   path of this program: only starts itself in a sandbox, as the user that it is, and waits
// Descriptor 3 is a sealed request memory.
import CLinux
import Glibc
import Platform
import Sandbox

@main
enum EscapeSuite {
    static func main() {
        if let runner = unsafe getenv("ESCAPE_RUNNER") { unsafe runInSandbox(String(cString: runner)) }
        // Signalling everybody is only tried as the first process of a namespace of its own.
        if Report.only == nil && getpid() != 1 {
            Report.escaped("process-namespace", "it is process \(getpid())")
            exit(1)
        }
        let isStrict = text("ESCAPE_FILTER") == "strict"
        if isStrict {
            do {
                try StrictMode.enter()
            } catch {
                Report.escaped("strict-mode", "\(error)")
                exit(1)
            }
        }
        FileAttempts.run(path: text("ESCAPE_PATH"))
        PeerAttempts.run(port: number("ESCAPE_PORT"), socket: text("ESCAPE_SOCKET"), shm: number("ESCAPE_SHM"))
        ProcessAttempts.run(victim: number("ESCAPE_VICTIM"), address: number("ESCAPE_ADDRESS"))
        PrivilegeAttempts.run(isStrict: isStrict)
        MemoryAttempts.run()
        ResourceAttempts.run(isStrict: isStrict)
        Report.line("end")
    }

    /// Starts this program in a sandbox with the same environment and descriptors.
    static func runInSandbox(_ path: String) -> Never {
        var manifest = Manifest(name: "escape-suite", systemCalls: [.base, .channels, .storage])
        manifest.limits.memoryBytes = 256 << 20
        manifest.limits.addressSpaceBytes = 512 << 20
        manifest.limits.fileBytes = 16 << 20
        let names = ["FILTER", "VICTIM", "ADDRESS", "PORT", "SOCKET", "PATH", "SHM"].map { "ESCAPE_\($0)" }
        do {
            let sandbox = try Sandbox(manifest, executablePath: path, index: 1)
            let process = try sandbox.run(
                environment: names.map { "\($0)=\(text($0))" }, descriptors: [0, 1, 2, 3])
            exit(try process.waitForEnd() == .exited(0) ? 0 : 1)
        } catch {
            Report.escaped("sandbox", "\(error)")
            exit(1)
        }
    }

    static func text(_ name: String) -> String {
        guard let value = unsafe getenv(name) else {
            Report.escaped("configuration", "\(name) is not set")
            exit(1)
        }
        return unsafe String(cString: value)
    }

    static func number(_ name: String) -> Int {
        guard let value = Int(text(name)) else {
            Report.escaped("configuration", "\(name) is no number")
            exit(1)
        }
        return value
    }
}

/// Results go to standard output, a pipe of the test.
enum Report {
    static let only: Set<Substring>? = {
        guard let value = unsafe getenv("ESCAPE_ONLY") else { return nil }
        return unsafe Set(String(cString: value).split(separator: ","))
    }()

    /// Whether an attempt is to be made.
    static func isWanted(_ name: String) -> Bool { only?.contains(Substring(name)) ?? true }

    static func line(_ text: String) {
        let bytes = Array((text + "\n").utf8)
        _ = unsafe write(1, bytes, bytes.count)
    }

    static func held(_ name: String, _ code: Int32) { line("held \(name) \(code)") }

    static func escaped(_ name: String, _ what: String) { line("ESCAPED \(name) \(what)") }

    /// A raw system call that must fail.
    static func mustFail(_ name: String, _ number: Int32, _ arguments: Int...) {
        guard isWanted(name) else { return }
        var all = arguments
        while all.count < 6 { all.append(0) }
        let result = clinux_raw_call(Int(number), all[0], all[1], all[2], all[3], all[4], all[5])
        if result < 0 {
            held(name, errno)
        } else {
            escaped(name, "the call returned \(result)")
        }
    }

    /// A raw system call with a path as argument `position`, that must fail.
    static func mustFail(_ name: String, _ number: Int32, path: String, at position: Int, _ arguments: Int...) {
        guard isWanted(name) else { return }
        unsafe path.withCString { pointer in
            var all = arguments
            all.insert(Int(bitPattern: pointer), at: min(position, all.count))
            while all.count < 6 { all.append(0) }
            let result = clinux_raw_call(Int(number), all[0], all[1], all[2], all[3], all[4], all[5])
            if result < 0 { held(name, errno) } else { escaped(name, "the call returned \(result)") }
        }
    }
}
