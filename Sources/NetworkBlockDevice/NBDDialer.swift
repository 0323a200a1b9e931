import Platform
import SystemPackage

/// Who makes the sockets: a program itself, or somebody for a process that can reach nothing.
public protocol NBDDialer: Sendable {
    /// A socket that is connected to the server, or about to be, and doesn't block.
    ///
    /// - Parameter number: counts up, so that a server's addresses are tried in turn.
    func dial(_ number: Int) throws(Errno) -> SharedDescriptor

    /// The socket isn't used any more.
    func forget(_ socket: SharedDescriptor)
}

/// Connects by itself.
public struct DirectDialer: NBDDialer {
    private let endpoints: [SocketEndpoint]

    /// Tries these in turn.
    public init(_ endpoints: [SocketEndpoint]) { self.endpoints = endpoints }

    /// Begins a connection.
    public func dial(_ number: Int) throws(Errno) -> SharedDescriptor {
        guard !endpoints.isEmpty else { throw .noRouteToHost }
        return try SystemCall.beginConnection(to: endpoints[number % endpoints.count])
    }

    /// Nothing: it is closed when nobody has it any more.
    public func forget(_ socket: SharedDescriptor) {}
}
