import Glibc
import SystemPackage

/// What a server does itself once it is up: it gives up all system calls that it needs no longer.
public enum StrictMode {
    /// Installs the filter that the supervisor names in the environment.
    ///
    /// - Throws: `noConfiguration` when the server wasn't started in a sandbox: it must end then.
    public static func enter() throws(SandboxError) { try enter(try configuredSet()) }

    /// Goes through `enter` without an effect: in a process that was started ahead of time, so that it is quick when it counts.
    public static func rehearse() throws(SandboxError) { _ = SeccompProgram(allowing: try configuredSet()) }

    private static func configuredSet() throws(SandboxError) -> SystemCallSet {
        guard let text = unsafe getenv(Sandbox.systemCallsVariable) else {
            throw .noConfiguration(Sandbox.systemCallsVariable)
        }
        guard let set = SystemCallSet(text: unsafe String(cString: text)) else {
            throw .noConfiguration(Sandbox.systemCallsVariable)
        }
        return set
    }

    /// Installs the filter of these groups, on all threads.
    public static func enter(_ set: SystemCallSet) throws(SandboxError) {
        do throws(Errno) {
            try SeccompProgram(allowing: set).install()
        } catch {
            throw .filter(error)
        }
    }
}
