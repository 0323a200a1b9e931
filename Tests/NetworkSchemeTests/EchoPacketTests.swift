import Glibc
import Platform
import SystemPackage
import Testing

@testable import NetworkScheme

/// Packets of `icmp/echo`: made, found again in what raw sockets and others give, and nothing else taken for them.
struct EchoPacketTests {
    private let packet = EchoPacket(token: 0x0123_4567_89ab_cdef, serial: 77, number: 0x1_0002)

    private func answer(isIPv6: Bool) -> [UInt8] {
        var bytes = packet.request(isIPv6: isIPv6, identifier: 9)
        bytes[0] = isIPv6 ? 129 : 0
        return bytes
    }

    /// An IPv4 header, with options if wanted, in front of an ICMP message.
    private func inIPv4(_ message: [UInt8], words: UInt8 = 5, content: UInt8 = 1) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: Int(words) * 4)
        header[0] = 0x40 | words
        header[9] = content
        return header + message
    }

    private func inIPv6(_ message: [UInt8], content: UInt8 = 58) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: 40)
        header[0] = 0x60
        header[6] = content
        return header + message
    }

    /// The example of RFC 1071.
    @Test func checksumIsTheInternets() {
        #expect(EchoPacket.checksum([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]) == 0x220d)
        // A message with its checksum in it sums up to nothing.
        #expect(EchoPacket.checksum(packet.request(isIPv6: false, identifier: 0xfedc)) == 0)
    }

    @Test func requestHasTheLayoutOfTheStandard() {
        let bytes = packet.request(isIPv6: false, identifier: 0xfedc)
        #expect(bytes.count == EchoPacket.byteCount)
        #expect(Array(bytes[0..<2]) == [8, 0])
        #expect(Array(bytes[4..<8]) == [0xfe, 0xdc, 0x00, 0x02])
        #expect(packet.request(isIPv6: true, identifier: 1)[0] == 128)
    }

    @Test func answersAreRead() {
        #expect(EchoOutcome(answer(isIPv6: false), isIPv6: false, hasHeader: false) == .answered(packet))
        #expect(EchoOutcome(answer(isIPv6: true), isIPv6: true, hasHeader: false) == .answered(packet))
        for words: UInt8 in [5, 15] {
            let raw = inIPv4(answer(isIPv6: false), words: words)
            #expect(EchoOutcome(raw, isIPv6: false, hasHeader: true) == .answered(packet))
        }
    }

    @Test(arguments: [(3, 0, ENETUNREACH), (3, 1, EHOSTUNREACH), (11, 0, EHOSTUNREACH)])
    func failuresNameTheRequest(_ type: Int, _ code: Int, _ errno: Int32) {
        let message =
            [UInt8(type), UInt8(code), 0, 0, 0, 0, 0, 0] + inIPv4(packet.request(isIPv6: false, identifier: 9))
        let outcome = EchoOutcome(inIPv4(message), isIPv6: false, hasHeader: true)
        #expect(outcome == .failed(packet, Errno(rawValue: errno)))
    }

    @Test(arguments: [(1, 0, ENETUNREACH), (1, 3, EHOSTUNREACH), (3, 0, EHOSTUNREACH)])
    func failuresInIPv6(_ type: Int, _ code: Int, _ errno: Int32) {
        let message =
            [UInt8(type), UInt8(code), 0, 0, 0, 0, 0, 0] + inIPv6(packet.request(isIPv6: true, identifier: 9))
        #expect(EchoOutcome(message, isIPv6: true, hasHeader: false) == .failed(packet, Errno(rawValue: errno)))
    }

    /// Requests that pass by, other protocols, other messages.
    @Test func nothingElseIsTaken() {
        let request = packet.request(isIPv6: false, identifier: 9)
        #expect(EchoOutcome(request, isIPv6: false, hasHeader: false) == nil)
        #expect(EchoOutcome(inIPv4(answer(isIPv6: false), content: 17), isIPv6: false, hasHeader: true) == nil)
        #expect(EchoOutcome(answer(isIPv6: false), isIPv6: true, hasHeader: false) == nil)
        let other = [UInt8](arrayLiteral: 3, 1, 0, 0, 0, 0, 0, 0) + inIPv4(request, content: 6)
        #expect(EchoOutcome(inIPv4(other), isIPv6: false, hasHeader: true) == nil)
    }

    /// Whatever comes gives a value: cut off anywhere, and with any byte changed.
    @Test func damagedPacketsAreHarmless() {
        let request = packet.request(isIPv6: false, identifier: 9)
        let failure = [UInt8](arrayLiteral: 3, 1, 0, 0, 0, 0, 0, 0) + inIPv4(request)
        for whole in [inIPv4(answer(isIPv6: false)), inIPv4(failure)] {
            for count in 0..<whole.count - 32 {
                #expect(EchoOutcome(Array(whole.prefix(count)), isIPv6: false, hasHeader: true) == nil)
            }
            for place in 0..<whole.count {
                for value: UInt8 in [0, 15, 0x4f, 0xff] {
                    var damaged = whole
                    damaged[place] = value
                    _ = EchoOutcome(damaged, isIPv6: false, hasHeader: true)
                    _ = EchoOutcome(damaged, isIPv6: true, hasHeader: false)
                }
            }
        }
    }
}
