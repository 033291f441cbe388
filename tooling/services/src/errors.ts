export type ServiceErrorCode =
  | 'SERVICE_UNKNOWN'
  | 'SERVICE_UNAVAILABLE'
  | 'SERVICE_START_FAILED'
  | 'SERVICE_STOP_FAILED'
  | 'SERVICE_NOT_MANAGED'
  | 'SUPERVISOR_FAILED'

/** Every error of this package; `code` is stable, `service` is the name that was asked for. */
export class ServiceError extends Error {
  readonly code: ServiceErrorCode
  readonly service: string

  constructor(code: ServiceErrorCode, service: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
    this.service = service
  }
}

/** No such service, or one that was not started. */
export class UnknownServiceError extends ServiceError {
  constructor(service: string, message: string) {
    super('SERVICE_UNKNOWN', service, message)
  }
}

/** This machine has no binary for the service and no way to get one. */
export class ServiceUnavailableError extends ServiceError {
  constructor(service: string, env: string, reason: string, options?: ErrorOptions) {
    super(
      'SERVICE_UNAVAILABLE',
      service,
      `${service}: ${reason}. Or set ${env} to the URL of a server.`,
      options,
    )
  }
}

/** The server's binary is there but did not come up; the message ends with the server's log. */
export class ServiceStartError extends ServiceError {
  constructor(service: string, message: string, options?: ErrorOptions) {
    super('SERVICE_START_FAILED', service, message, options)
  }
}

export class ServiceStopError extends ServiceError {
  constructor(service: string, message: string) {
    super('SERVICE_STOP_FAILED', service, message)
  }
}

/** The service's URL came from the environment, so it is not ours to stop or start. */
export class ServiceNotManagedError extends ServiceError {
  constructor(service: string, env: string, action: string) {
    super(
      'SERVICE_NOT_MANAGED',
      service,
      `cannot ${action} ${service}: its URL came from ${env}. Start it with { private: true } to have one of your own.`,
    )
  }
}

/** The process that owns the servers is gone. */
export class SupervisorError extends ServiceError {
  constructor(message: string, options?: ErrorOptions) {
    super('SUPERVISOR_FAILED', 'supervisor', message, options)
  }
}
