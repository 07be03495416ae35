export { x } from '@wakame/amqp';
