import Platform

/// In which order the addresses of a host are tried (Happy Eyeballs, RFC 8305): the families take turns, IPv6 first, each in the
/// order that the resolver gave; the next begins when one fails or has taken a quarter of a second.
public enum AddressOrder {
    /// From one attempt to the next, in nanoseconds.
    public static let attemptDelay: UInt64 = 250_000_000

    /// The addresses in the order in which they are tried, each once.
    public static func interleaved(_ addresses: [SocketAddress]) -> [SocketAddress] {
        var seen: Set<SocketAddress> = []
        let unique = addresses.filter { seen.insert($0).inserted }
        let six = unique.filter(\.isIPv6)
        let four = unique.filter { !$0.isIPv6 }
        var result: [SocketAddress] = []
        for index in 0..<max(six.count, four.count) {
            if index < six.count { result.append(six[index]) }
            if index < four.count { result.append(four[index]) }
        }
        return result
    }
}
