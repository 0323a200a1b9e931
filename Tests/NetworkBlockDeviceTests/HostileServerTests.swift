import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

@testable import NetworkBlockDevice

/// What a server says and sends may be anything: it is told so, and does nothing to who reads that.
@Suite struct HostileServerTests {
    @Test func namesOfExportsAreNoCommandsToATerminal() {
        let error = NBDError.refused("no such export", exports: ["", "good \u{e4}", "\u{1b}[2Jbad\n", "\u{9b}31m"])
        #expect(
            error.advice
                == #"Its exports: "" (the default one), good ä, \u{1b}[2Jbad\u{a}, \u{9b}31m"#)
    }

    /// The log has the cause, not what the library says of a connection that is no more.
    @Test func repliesToNothingAreTold() throws {
        let folder = try TemporaryDirectory()
        let server = try ConfusedServer(path: folder.file("s"))
        let said = Locked<[String]>([])
        let device = try connect(folder.file("s")) { options in
            options.log = { line in said.withLock { $0.append(line) } }
        }
        #expect(try contents(device, 0, 512) == [UInt8](repeating: 7, count: 512))
        let causes = said.withLock { $0 }.filter { $0.hasPrefix("the server is gone") }
        #expect(causes.count == 1)
        #expect(causes.first?.contains("cookie") == true, "\(causes)")
        server.stop()
    }
}

/// A server of 1 MiB of sevens, by the old style of negotiation. The first reply that it ever sends is to a request that nobody made.
private final class ConfusedServer: Sendable {
    private let listener: SharedDescriptor
    private let isStopped = Locked(false)

    init(path: String) throws {
        listener = try SystemCall.listen(atPath: path)
        _ = try spawnThread(name: "confused") { [self] in
            var isRight = false
            while !isStopped.withLock({ $0 }) {
                guard let caller = try? SystemCall.accept(listener.rawValue) else {
                    usleep(1000)
                    continue
                }
                serve(caller.rawValue, isRight: isRight)
                isRight = true
            }
        }
    }

    /// It ends with who is connected.
    func stop() { isStopped.withLock { $0 = true } }

    private func serve(_ socket: Int32, isRight: Bool) {
        _ = fcntl(socket, F_SETFL, 0)
        // Magic, size, flags of the export (there are some), and zeros.
        send(socket, Array("NBDMAGIC".utf8) + number(0x0042_0281_8612_53, 8) + number(1 << 20, 8) + number(1, 4))
        send(socket, [UInt8](repeating: 0, count: 124))
        while let request = receive(socket, 28) {
            // A read; anything else ends it.
            guard request[7] == 0 else { return }
            var cookie = Array(request[8..<16])
            if !isRight { cookie[0] ^= 0xff }
            send(socket, number(0x6744_6698, 4) + number(0, 4) + cookie)
            let count = request[24..<28].reduce(0) { $0 << 8 | Int($1) }
            send(socket, [UInt8](repeating: 7, count: count))
        }
    }

    private func number(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - $0))) }
    }

    private func send(_ socket: Int32, _ bytes: [UInt8]) {
        _ = unsafe Glibc.send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    private func receive(_ socket: Int32, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return unsafe recv(socket, &bytes, count, Int32(MSG_WAITALL)) == count ? bytes : nil
    }
}
