/// The variables by which the supervisor tells a process that it starts what it is.
public enum ProcessEnvironment {
    /// The number of the control socket's descriptor.
    public static let control = "SALTBRIDGE_CONTROL"
    /// Set if the process is started ahead of time: there is a while until it is configured.
    public static let spare = "SALTBRIDGE_SPARE"
}
