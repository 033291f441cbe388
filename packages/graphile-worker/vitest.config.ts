import { onLeg } from '../../testing/legs.js'

export default onLeg('graphileWorker', process.env.HOLDFAST_TEST_DB, process.env.HOLDFAST_TEST_VERSION)
