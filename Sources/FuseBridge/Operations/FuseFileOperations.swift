import CFuse3
import Glibc
import SystemPackage

/// CREATE, OPEN, RELEASE, READ, WRITE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE, POLL, IOCTL.
@unsafe
func addFileOperations(_ operations: inout fuse_lowlevel_ops) {
    unsafe addOpening(&operations)
    unsafe addTransfers(&operations)
    unsafe addRanges(&operations)
    unsafe operations.poll = { request, node, file, wakeHandle in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            // The number in the request is all that a notification needs, and it is still right in a later process.
            if let wakeHandle = unsafe wakeHandle { unsafe fuse_pollhandle_destroy(wakeHandle) }
            guard let argument = worker.argument(fuse_poll_in.self) else { throw .invalidArgument }
            let isWaiting = argument.flags & UInt32(FUSE_POLL_SCHEDULE_NOTIFY) != 0
            let events = try backend.poll(
                details, node: UInt64(node), handle: argument.fh, events: argument.events,
                wakeHandle: isWaiting ? argument.kh : nil)
            _ = unsafe fuse_reply_poll(request, events)
        }
    }
    unsafe operations.ioctl = { request, node, command, _, file, _, input, inputCount, outputCount in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            let bytes = unsafe UnsafeRawBufferPointer(start: input, count: input == nil ? 0 : inputCount)
            let handle = unsafe file?.pointee.fh ?? 0
            var hasReplied = false
            let result = unsafe try backend.control(
                details, node: UInt64(node), handle: handle, command: command,
                input: unsafe RawSpan(_unsafeBytes: bytes), outputByteCount: outputCount
            ) { output in
                hasReplied = true
                _ = unsafe fuse_reply_ioctl(request, 0, output.baseAddress, min(output.count, outputCount))
            }
            if !hasReplied { _ = unsafe fuse_reply_ioctl(request, result, nil, 0) }
        }
    }
}

// A read of a stream that waits mustn't keep a write waiting for the file's position: it has none. libfuse can't say so, hence replies as
// linux/fuse.h has them.

/// The reply to CREATE.
private struct CreatedStream {
    var entry: fuse_entry_out
    var file: fuse_open_out
}

extension FuseOpenedFile {
    /// The reply to OPEN.
    fileprivate var reply: fuse_open_out { fuse_open_out(fh: handle, open_flags: openFlags, padding: 0) }
}

@unsafe
private func replyBytes(_ bytes: UnsafeRawBufferPointer, _ request: fuse_req_t?) {
    let start = unsafe bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
    _ = unsafe fuse_reply_buf(request, start, bytes.count)
}

@unsafe
private func addOpening(_ operations: inout fuse_lowlevel_ops) {
    unsafe operations.create = { request, parent, name, mode, file in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            guard let file = unsafe file else { throw .invalidArgument }
            let name = unsafe try newName(name)
            let (attributes, opened) = try backend.create(
                details, parent: UInt64(parent), name: name, mode: mode,
                flags: UInt32(bitPattern: unsafe file.pointee.flags))
            if opened.flags.contains(.stream), unsafe file.pointee.flags & O_ACCMODE == O_RDWR {
                var reply = CreatedStream(entry: attributes.entry, file: opened.reply)
                unsafe withUnsafeBytes(of: &reply) { unsafe replyBytes($0, request) }
                return
            }
            var entry = attributes.parameter
            unsafe opened.fill(file)
            _ = unsafe fuse_reply_create(request, &entry, file)
        }
    }
    unsafe operations.open = { request, node, file in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            guard let file = unsafe file else { throw .invalidArgument }
            let flags = worker.argument(fuse_open_in.self)?.open_flags ?? 0
            let opened = try backend.open(
                details, node: UInt64(node), flags: UInt32(bitPattern: unsafe file.pointee.flags),
                clearsPrivileges: flags & UInt32(FUSE_OPEN_KILL_SUIDGID) != 0)
            if opened.flags.contains(.stream), unsafe file.pointee.flags & O_ACCMODE == O_RDWR {
                var reply = opened.reply
                unsafe withUnsafeBytes(of: &reply) { unsafe replyBytes($0, request) }
                return
            }
            unsafe opened.fill(file)
            _ = unsafe fuse_reply_open(request, file)
        }
    }
    unsafe operations.release = { request, node, file in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            guard let file = unsafe file?.pointee else { throw .invalidArgument }
            backend.release(details, node: UInt64(node), handle: file.fh, flags: UInt32(bitPattern: file.flags))
            _ = unsafe fuse_reply_err(request, 0)
        }
    }
}

@unsafe
private func addTransfers(_ operations: inout fuse_lowlevel_ops) {
    unsafe operations.read = { request, node, byteCount, offset, file in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            guard let file = unsafe file?.pointee, offset >= 0 else { throw .invalidArgument }
            // Only a read for a caller says who owns its locks.
            let readFlags = worker.argument(fuse_read_in.self)?.read_flags ?? 0
            unsafe try backend.read(
                details, node: UInt64(node), handle: file.fh, at: UInt64(offset), byteCount: byteCount,
                flags: UInt32(bitPattern: file.flags), isCacheRead: readFlags & UInt32(FUSE_READ_LOCKOWNER) == 0
            ) { bytes in
                _ = unsafe fuse_reply_buf(request, bytes.baseAddress, bytes.count)
            }
        }
    }
    unsafe operations.write = { request, node, bytes, byteCount, offset, file in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            guard let file = unsafe file?.pointee, offset >= 0 else { throw .invalidArgument }
            let flags = worker.argument(fuse_write_in.self)?.write_flags ?? 0
            // Not the worker's while the call waits: another thread may read meanwhile.
            var buffer = unsafe worker.takeBufferInUse()
            defer { if let buffer = unsafe buffer { unsafe worker.lent = buffer } }
            let count = unsafe try backend.write(
                details, node: UInt64(node), handle: file.fh, at: UInt64(offset),
                unsafe UnsafeRawBufferPointer(start: bytes, count: byteCount), in: &buffer,
                flags: UInt32(bitPattern: file.flags), isCacheWrite: file.writepage != 0,
                clearsPrivileges: flags & UInt32(FUSE_WRITE_KILL_SUIDGID) != 0)
            _ = unsafe fuse_reply_write(request, count)
        }
    }
    unsafe operations.fsync = { request, node, dataOnly, file in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            let handle = unsafe file?.pointee.fh
            try backend.synchronize(details, node: UInt64(node), handle: handle, dataOnly: dataOnly != 0)
            _ = unsafe fuse_reply_err(request, 0)
        }
    }
}

@unsafe
private func addRanges(_ operations: inout fuse_lowlevel_ops) {
    unsafe operations.fallocate = { request, node, mode, offset, byteCount, file in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            guard let file = unsafe file?.pointee, offset >= 0, byteCount >= 0 else { throw .invalidArgument }
            try backend.allocate(
                details, node: UInt64(node), handle: file.fh, mode: UInt32(bitPattern: mode), at: UInt64(offset),
                byteCount: UInt64(byteCount))
            _ = unsafe fuse_reply_err(request, 0)
        }
    }
    unsafe operations.lseek = { request, node, offset, whence, file in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            guard let file = unsafe file?.pointee else { throw .invalidArgument }
            guard offset >= 0 else { throw .noSuchAddressOrDevice }
            let result = try backend.seek(
                details, node: UInt64(node), handle: file.fh, from: UInt64(offset), whence: whence)
            _ = unsafe fuse_reply_lseek(request, off_t(truncatingIfNeeded: result))
        }
    }
    unsafe operations.copy_file_range = { request, node, offset, file, target, targetOffset, targetFile, byteCount, _ in
        unsafe FuseWorker.perform(request) { worker, backend, details throws(Errno) in
            guard let file = unsafe file?.pointee, let targetFile = unsafe targetFile?.pointee, offset >= 0,
                targetOffset >= 0
            else { throw .invalidArgument }
            let count = try backend.copyRange(
                details, node: UInt64(node), handle: file.fh, at: UInt64(offset), to: UInt64(target),
                targetHandle: targetFile.fh, targetOffset: UInt64(targetOffset), byteCount: UInt64(byteCount))
            _ = unsafe fuse_reply_write(request, count)
        }
    }
}
