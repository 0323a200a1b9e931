import Glibc
import Platform
import SchemeKit
import SchemeProtocol
import SchemeTransport

/// How long a request takes through a ring and back, between two processes; `scheme-peer bench [same|cross|both]`.
enum Benchmark {
    static func run(_ which: String?) throws {
        for place in ["same", "cross"] where which == nil || which == "both" || which == place {
            try measure(place)
        }
    }

    private static func pin(_ processor: UInt32) { _ = Processors.keepThread(on: processor) }

    /// The other process.
    static func serve(_ arguments: ArraySlice<String>) throws {
        pin(arguments.first == "same" ? 0 : 1)
        let server = try ChannelServer(
            geometry: .small, request: SharedDescriptor(adopting: 3), reply: SharedDescriptor(adopting: 4),
            incarnation: 1)
        _ = server.begin(epoch: 0)
        ChannelWorker(server, Dispatcher(EchoScheme()), worker: 0).run()
    }

    private static func measure(_ place: String) throws {
        let channel = try ChannelClient(.small, name: "bench")
        let program = try SystemCall.openPath("/proc/self/exe")
        let plan = ProcessPlan(
            executable: program.rawValue, arguments: ["scheme-peer", "bench-server", place],
            environment: [],
            descriptors: [0, 1, 2, channel.requestDescriptor.rawValue, channel.replyDescriptor.rawValue])
        let child = try plan.run()
        defer {
            try? child.send(signal: SIGKILL)
            _ = try? child.waitForEnd()
        }
        pin(0)
        let rounds = 20_000
        for (name, opcode, length) in [("ping", Opcode.ping, 0), ("getattr", .getattr, 0), ("read 4 KiB", .read, 4096)]
        {
            var times: [UInt64] = []
            times.reserveCapacity(rounds)
            for _ in 0..<rounds {
                let start = Clock.monotonicNanoseconds()
                guard let slot = channel.reserve(replyBytes: length) else { continue }
                channel.submit(slot, SubmissionEntry(opcode, node: 1, length: UInt32(length)))
                var isDone = false
                while !isDone {
                    channel.waitAndDrain { completion in
                        channel.release(completion)
                        isDone = true
                    }
                }
                times.append(Clock.monotonicNanoseconds() - start)
            }
            times.sort()
            print(
                "\(place) core, \(name): p50 \(times[times.count / 2]) ns, "
                    + "p99 \(times[times.count * 99 / 100]) ns")
        }
    }
}
