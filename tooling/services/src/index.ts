export {
  ServiceError,
  type ServiceErrorCode,
  ServiceNotManagedError,
  ServiceStartError,
  ServiceStopError,
  ServiceUnavailableError,
  SupervisorError,
  UnknownServiceError,
} from './errors.js'
export { startServices } from './start-services.js'
export type { RunningService, Services, StartOptions, StopMode } from './types.js'
