// A notebook takes plain keys for its own ("d d" deletes a cell, the arrows move to another one), but for those written into
// a text field. In a list or on a button of the form they are the form's.
export default {
  render({ el }) {
    let stopped = false;
    // On the element itself: the notebook's rules match what has the focus, and ask nothing above it.
    const own = ({ target }) => {
      if (!target.matches("input, textarea")) target.setAttribute("data-lm-suppress-shortcuts", "true");
    };
    const begin = () => {
      const form = el.closest(".kaito-form");
      if (form) form.addEventListener("focusin", own);
      else if (!stopped) requestAnimationFrame(begin);
    };
    begin();
    return () => {
      stopped = true;
    };
  },
};
