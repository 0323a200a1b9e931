import Platform
import SystemPackage

/// Who makes the sockets: a program itself, or somebody for a process that can reach nothing.
public protocol NBDDialer: Sendable {
    /// How many addresses there are.
    var endpointCount: Int { get }

    /// A socket that is connected to the server, or about to be, and doesn't block.
    ///
    /// - Parameters:
    ///   - endpoint: which of the addresses, from 0.
    ///   - number: counts up: no two sockets have the same.
    func dial(_ endpoint: Int, number: Int) throws(Errno) -> SharedDescriptor

    /// The socket isn't used any more.
    func forget(_ socket: SharedDescriptor)
}

/// Connects by itself.
public struct DirectDialer: NBDDialer {
    private let endpoints: [SocketEndpoint]

    /// To these.
    public init(_ endpoints: [SocketEndpoint]) { self.endpoints = endpoints }

    /// How many there are.
    public var endpointCount: Int { endpoints.count }

    /// Begins a connection.
    public func dial(_ endpoint: Int, number: Int) throws(Errno) -> SharedDescriptor {
        guard endpoints.indices.contains(endpoint) else { throw .noRouteToHost }
        return try SystemCall.beginConnection(to: endpoints[endpoint])
    }

    /// Nothing: it is closed when nobody has it any more.
    public func forget(_ socket: SharedDescriptor) {}
}
