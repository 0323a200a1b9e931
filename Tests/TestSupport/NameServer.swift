import Glibc
import Platform
import Synchronization
import SystemPackage

/// A name server of the test's own (RFC 1035). It knows IPv4 addresses alone; questions for names that begin with `late` are answered
/// when it is told to.
public final class NameServer: Sendable {
    /// Where it listens, on 127.0.0.1.
    public let port: UInt16
    private let socket: SharedDescriptor
    private let addresses: @Sendable (String) -> [[UInt8]]?
    private let late = Locked(LateNames())
    private let isStopped = Atomic<Bool>(false)
    private let thread = Locked<JoinHandle?>(nil)

    /// - Parameter addresses: those of a name, 4 bytes each; nil if there is no such name.
    public init(_ addresses: @escaping @Sendable (String) -> [[UInt8]]?) throws {
        self.addresses = addresses
        socket = try SystemCall.socket(.datagram, isIPv6: false)
        guard let address = SocketAddress(numeric: "127.0.0.1", port: 0) else { throw Errno.invalidArgument }
        try SystemCall.bind(socket.rawValue, to: address)
        port = try SystemCall.localAddress(socket.rawValue).port
        let server = try spawnThread(name: "names") { [self] in serve() }
        thread.withLock { $0 = server }
    }

    private func serve() {
        var buffer = [UInt8](repeating: 0, count: 512)
        while !isStopped.load(ordering: .relaxed) {
            var entry = [pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)]
            _ = try? SystemCall.poll(&entry, milliseconds: 20)
            var span = buffer.mutableSpan
            var bytes = unsafe span.mutableBytes
            guard let (count, asker) = try? SystemCall.receiveDatagram(socket.rawValue, into: &bytes), let asker,
                let question = Question(Array(buffer.prefix(count)))
            else { continue }
            let isHeldBack = late.withLock { late in
                guard question.name.hasPrefix("late") else { return false }
                late.questions.append((question, asker))
                return !late.released.contains(question.name)
            }
            if !isHeldBack { answer(question, asker) }
        }
    }

    private func answer(_ question: Question, _ asker: SocketAddress) {
        let found = addresses(question.name)
        let records = question.isAboutIPv4 ? found ?? [] : []
        let outcome: UInt8 = found == nil ? 0x83 : 0x80
        var answer = question.identifier + [0x81, outcome, 0, 1, 0, UInt8(records.count), 0, 0, 0, 0] + question.bytes
        for record in records { answer += [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4] + record }
        _ = try? SystemCall.send(socket.rawValue, unsafe answer.span.bytes, to: asker)
    }

    /// Answers the questions for a late name, also those that are still to come; waits until there are some.
    public func answerLate(_ name: String) {
        waitForQuestion(name)
        let questions = late.withLock { late in
            late.released.insert(name)
            return late.questions
        }
        for (question, asker) in questions where question.name == name { answer(question, asker) }
    }

    /// Waits until somebody has asked for the IPv4 addresses of a late name.
    public func waitForQuestion(_ name: String) {
        while !late.withLock({ $0.questions.contains { $0.question.name == name && $0.question.isAboutIPv4 } }) {
            usleep(1000)
        }
    }

    /// Answers no more.
    public func stop() {
        isStopped.store(true, ordering: .relaxed)
        thread.withLock { $0 }?.join()
    }

    /// Names whose questions are answered when the test says so.
    private struct LateNames {
        var questions: [(question: Question, asker: SocketAddress)] = []
        var released: Set<String> = []
    }

    /// Header of 12 bytes, name, type, class; then perhaps what extends the protocol, which is left out.
    private struct Question {
        let identifier: [UInt8]
        let bytes: [UInt8]
        let name: String
        let isAboutIPv4: Bool

        init?(_ datagram: [UInt8]) {
            var end = 12
            var labels: [String] = []
            while end < datagram.count, datagram[end] != 0 {
                let next = end + 1 + Int(datagram[end])
                guard next < datagram.count else { return nil }
                labels.append(String(decoding: datagram[(end + 1)..<next], as: UTF8.self))
                end = next
            }
            guard end + 5 <= datagram.count else { return nil }
            identifier = Array(datagram[..<2])
            bytes = Array(datagram[12..<(end + 5)])
            // Resolvers may mix the case of letters, to know their answers by it.
            name = labels.joined(separator: ".").lowercased()
            isAboutIPv4 = datagram[end + 1] == 0 && datagram[end + 2] == 1
        }
    }
}
