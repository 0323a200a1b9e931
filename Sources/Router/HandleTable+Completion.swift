import SchemeProtocol
import SchemeTransport

// What a completion says of open files. The record holds all of it, so that a successor of this process comes to the same end.

extension HandleTable {
    /// Whether completions of this kind say anything of open files.
    static func isAbout(_ opcode: Opcode) -> Bool {
        switch opcode {
        case .open, .create, .tmpfile, .close: true
        default: false
        }
    }

    /// Notes what a completed record says. Saying it again changes nothing.
    func note(_ record: RequestRecord) {
        let handle = record.entry.handle
        switch record.opcode {
        case .close:
            if record.sequence == 0 { free(handle) } else { didClose(handle, sequence: record.sequence) }
        case .open where record.result >= 0:
            didOpen(
                handle, node: record.entry.node, generation: record.value0 >> 32,
                after: record.sequence != 0 ? record.sequence : record.value1)
        case .create where record.result >= 0, .tmpfile where record.result >= 0:
            noteNew(record)
        case .open, .create, .tmpfile: free(handle)
        default: break
        }
    }

    /// The node of a new file stands in the reply.
    private func noteNew(_ record: RequestRecord) {
        let client = client
        guard let attributes = NodeAttributes(decoding: client.reply(of: record)) else {
            return free(record.entry.handle)
        }
        didOpen(
            record.entry.handle, node: attributes.node, generation: attributes.generation, after: record.sequence)
    }
}
