import SchemeProtocol
import SystemPackage

// The kernel asks again for what it could know. After every change in a directory it asks for the directory's attributes; before the
// first write to a new file, whether the file has capabilities; and of a file whose last name is gone it still sends the time of
// that. The answers stand in what the server answered before, so the server isn't woken for them.
//
// What is remembered is right because nobody but this route's callers changes the scheme (a server says so by letting its attributes
// be kept for ever; if it says later that something has changed, everything is forgotten), and because it is only taken over, and
// only told, while no other change is under way: with several at once, the order of the answers isn't that of the changes.

/// What the answers of one scheme's server said that will be asked again. Guarded by a lock of its owner.
struct AnswerMemory {
    /// A request that bears on the memory, from its submission to its answer.
    struct Ticket {
        fileprivate let opcode: Opcode
        fileprivate let node: UInt64
        /// The directory that a change of names is made in.
        fileprivate let directory: UInt64
        fileprivate let wasAlone: Bool
        fileprivate let number: UInt64
    }

    /// How many nodes of one kind are remembered.
    private static let limit = 64
    /// Attributes that may be kept for so long are kept by nobody but us, in milliseconds: a day.
    private static let lasting: UInt32 = 86_400_000

    /// False as long as changes of a dead router may be under way.
    private var isOpen: Bool

    /// Changes that were submitted and not answered.
    private var underWay = 0
    /// Changes submitted so far.
    private var changeCount: UInt64 = 0
    /// The directory that was asked for, or changed, last.
    private var directory: NodeAttributes?
    /// Nodes that were removed for good.
    private var gone: [UInt64] = []
    /// New files, which have no capabilities.
    private var new: [UInt64] = []

    /// Nothing is known.
    ///
    /// - Parameter isOpen: false if others' changes may be under way: nothing is remembered until there are none.
    init(isOpen: Bool = true) { self.isOpen = isOpen }

    // MARK: Asking

    /// A directory's attributes, if they are known.
    func attributes(_ node: UInt64) -> NodeAttributes? {
        guard underWay == 0, let directory, directory.node == node else { return nil }
        return directory
    }

    /// Whether the node is known not to be there any more.
    func isGone(_ node: UInt64) -> Bool { gone.contains(node) }

    /// Whether the file is known to have no capabilities (`security.capability`).
    func hasNoCapability(_ node: UInt64) -> Bool { new.contains(node) }

    // MARK: Learning

    /// A request is going to be submitted; nil if it has no bearing.
    ///
    /// - Parameter isIdle: whether nothing at all is with the server.
    mutating func begin(
        _ entry: SubmissionEntry, _ arguments: RequestArguments, isIdle: () -> Bool = { true }
    ) -> Ticket? {
        guard let opcode = Opcode(rawValue: entry.opcode) else { return nil }
        if !isOpen { isOpen = underWay == 0 && isIdle() }
        switch opcode {
        case .getattr: break
        case .create, .tmpfile, .mknod, .mkdir, .symlink, .link:
            // The number of a node that is gone may be given again.
            gone.removeAll(keepingCapacity: true)
            underWay += 1
        case .setattr, .setxattr, .removexattr:
            new.removeAll { $0 == entry.node }
            underWay += 1
        case .unlink, .rmdir, .rename: underWay += 1
        default: return nil
        }
        let isChange = opcode != .getattr
        if isChange { changeCount &+= 1 }
        return Ticket(
            opcode: opcode, node: entry.node, directory: opcode == .link ? arguments.word0 : entry.node,
            wasAlone: underWay == (isChange ? 1 : 0), number: changeCount)
    }

    /// A request failed. The usual refusals say that it changed nothing; others don't.
    mutating func failed(_ ticket: Ticket, _ error: Errno) {
        guard ticket.opcode != .getattr else { return }
        underWay -= 1
        switch error {
        case .fileExists, .noSuchFileOrDirectory, .directoryNotEmpty, .noSpace, .permissionDenied, .notPermitted,
            .isDirectory, .notDirectory:
            break
        default: directory = nil
        }
    }

    /// A request was answered.
    mutating func answered(_ ticket: Ticket, _ reply: RawSpan, value0: UInt64) {
        let isAlone = isOpen && ticket.wasAlone && ticket.number == changeCount
        if ticket.opcode == .getattr {
            if isAlone { remember(NodeAttributes(decoding: reply), of: ticket.node) }
            return
        }
        underWay -= 1
        guard isAlone else { return directory = nil }
        switch ticket.opcode {
        case .create, .tmpfile, .mknod:
            if let made = NodeAttributes(decoding: reply), made.attributesValid >= Self.lasting {
                Self.add(made.node, to: &new)
            }
            update(ticket, reply, after: NodeAttributes.byteCount)
        case .mkdir, .symlink, .link: update(ticket, reply, after: NodeAttributes.byteCount)
        case .unlink:
            if value0 != 0 {
                Self.add(value0, to: &gone)
                new.removeAll { $0 == value0 }
            }
            update(ticket, reply, after: 0)
        case .rmdir:
            // It may have been the one that is remembered.
            if ticket.directory != directory?.node { directory = nil }
            update(ticket, reply, after: 0)
        case .rename: directory = nil
        default: if ticket.node == directory?.node { directory = nil }
        }
    }

    /// Everything is asked again, and answers that are on their way aren't remembered.
    mutating func forget() {
        changeCount &+= 1
        directory = nil
        gone.removeAll()
        new.removeAll()
    }

    private mutating func remember(_ attributes: NodeAttributes?, of node: UInt64) {
        guard let attributes, attributes.node == node, attributes.attributesValid >= Self.lasting,
            attributes.mode & ModeBits.typeMask == ModeBits.directory
        else { return }
        directory = attributes
    }

    private mutating func update(_ ticket: Ticket, _ reply: RawSpan, after byteCount: Int) {
        guard ticket.directory == directory?.node else { return }
        guard reply.byteCount >= byteCount,
            let state = DirectoryState(decoding: reply.extracting(droppingFirst: byteCount))
        else { return directory = nil }
        if var known = directory {
            state.apply(to: &known)
            directory = known
        }
    }

    private static func add(_ node: UInt64, to list: inout [UInt64]) {
        if list.count == limit { list.removeFirst() }
        list.append(node)
    }
}
