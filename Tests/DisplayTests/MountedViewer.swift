import Glibc
import Platform
import SystemPackage
import Testing

@testable import DisplayScheme

/// A viewer over a socket that waits for what it is to get.
struct MountedViewer {
    let socket: SharedDescriptor
    private var reader = RectangleReader()

    init(_ socket: SharedDescriptor) throws {
        self.socket = socket
        #expect(try hear(12) == Array("RFB 003.008\n".utf8))
        try say(Array("RFB 003.008\n".utf8))
        #expect(try hear(2) == [1, 1])
        try say([1])
        #expect(try hear(4) == [0, 0, 0, 0])
        try say([1])
        let start = try hear(24)
        #expect(Array(start.prefix(4)) == [1, 64, 0, 200])
        _ = try hear(Int(start[23]))
    }

    func say(_ bytes: [UInt8]) throws {
        let span = bytes.span
        try SystemCall.writeAll(socket.rawValue, unsafe span.bytes)
    }

    func hear(_ count: Int) throws -> [UInt8] { try Self.hear(socket, count) }

    static func hear(_ socket: SharedDescriptor, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let part = unsafe bytes.withUnsafeMutableBytes {
                unsafe read(socket.rawValue, $0.baseAddress.map { unsafe $0 + done }, count - done)
            }
            guard part > 0 else { throw Errno.connectionReset }
            done += part
        }
        return bytes
    }

    mutating func picture(_ encoding: RectangleEncoding) throws -> [UInt32] {
        try say([2, 0, 0, 1, 0, 0, 0, UInt8(encoding.rawValue), 3, 0, 0, 0, 0, 0, 1, 64, 0, 200])
        let socket = socket
        return try reader.update(width: 320, height: 200) { try Self.hear(socket, $0) }
    }
}
